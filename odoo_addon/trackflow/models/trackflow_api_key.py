from datetime import timedelta

from odoo import api, fields, models, tools
from odoo.exceptions import UserError, ValidationError
from odoo.tools import SQL

from trackflow_core.api import keys
from trackflow_core.api.storage import ApiKey
from trackflow_core.errors import ConfigError
from trackflow_core.tracking import networks

from ..engine import plugin_hooks
from ..store.values import aware, naive

NOBODY = "."
_COLUMNS = (
    "name",
    "key_prefix",
    "key_hash",
    "previous_hash",
    "previous_until",
    "created_at",
    "expires_at",
    "revoked_at",
    "hourly_limit",
    "last_used",
    "usage_count",
)


class TrackflowApiKey(models.Model):
    """Lets a program use the REST API with the rights of one user. Only a hash of it is kept."""

    _name = "trackflow.api.key"
    _description = "TrackFlow API Key"
    _order = "id desc"

    name = fields.Char("Used By", required=True, help="The program that uses it.")
    user_id = fields.Many2one(
        "res.users",
        required=True,
        default=lambda self: self.env.user,
        ondelete="cascade",
        help="The API may do what this user may do, within the key's permissions.",
    )
    key_prefix = fields.Char("Prefix", readonly=True, copy=False, help="How the key begins.")
    key_hash = fields.Char(copy=False, groups=NOBODY)
    previous_hash = fields.Char(copy=False, groups=NOBODY)
    previous_until = fields.Datetime("Old Key Good Until", readonly=True, copy=False)
    created_at = fields.Datetime("Issued On", readonly=True, copy=False)
    expires_at = fields.Datetime("Expires On")
    revoked_at = fields.Datetime("Revoked On", readonly=True, copy=False)
    hourly_limit = fields.Integer("Requests an Hour", help="0: as the system says, 1,000.")
    last_used = fields.Datetime(readonly=True, copy=False)
    usage_count = fields.Integer("Requests", readonly=True, copy=False, aggregator=None)
    permission_ids = fields.One2many("trackflow.api.permission", "key_id", copy=True)
    ip_whitelist_ids = fields.One2many("trackflow.api.ip.whitelist", "key_id", copy=True)
    state = fields.Selection(
        [
            ("draft", "Not Issued"),
            ("active", "Active"),
            ("rotating", "Being Changed"),
            ("expired", "Expired"),
            ("revoked", "Revoked"),
        ],
        compute="_compute_state",
    )

    _key_prefix_uniq = models.UniqueIndex("(key_prefix)", "There is such a key already.")
    _hourly_limit_positive = models.Constraint(
        "CHECK (hourly_limit >= 0)", "The limit must not be negative."
    )

    @api.depends("key_prefix", "revoked_at", "expires_at", "previous_until")
    def _compute_state(self):
        now = aware(fields.Datetime.now())
        for key in self:
            key.state = keys.described(key.sudo()._core_key(), now) if key.key_prefix else "draft"

    @api.model_create_multi
    def create(self, vals_list):
        self._check_owners(vals_list)
        return super().create(vals_list)

    def write(self, vals):
        self._check_owners([vals])
        if "user_id" in vals:
            self.env.registry.clear_cache()
        return super().write(vals)

    def _check_owners(self, vals_list):
        """A key never gives somebody the rights of somebody else.

        No constraint, since those are checked with every right.
        """
        if self.env.su or self.env.user.has_group("base.group_system"):
            return
        if any(vals.get("user_id", self.env.uid) != self.env.uid for vals in vals_list):
            raise ValidationError(
                self.env._("Only an administrator may make a key for another user.")
            )

    def action_issue(self):
        """Make the key and show it, this once."""
        self.ensure_one()
        self.check_access("write")
        if self.key_prefix:
            raise UserError(self.env._("This key was issued already: change it instead."))
        if not self.permission_ids:
            raise UserError(self.env._("Add a line for each thing that the key may do, first."))
        now = aware(fields.Datetime.now())
        issued = keys.issue(self.name, self._scopes(), now)
        self.sudo().write(
            {
                **self._secret_vals(issued.key),
                "key_prefix": issued.key.id,
                "created_at": naive(now),
            }
        )
        return self._show(issued.token)

    def action_rotate(self):
        """Give the key a new secret and show it; the old one is good for another day."""
        self.ensure_one()
        self.check_access("write")
        now = aware(fields.Datetime.now())
        try:
            issued = keys.rotate(self.sudo()._core_key(), now, timedelta(days=1))
        except ConfigError as error:
            raise UserError(str(error)) from error
        self.sudo().write(self._secret_vals(issued.key))
        return self._show(issued.token)

    def action_revoke(self):
        """Make the keys good for nothing, at once."""
        self.check_access("write")
        now = aware(fields.Datetime.now())
        for key in self.sudo():
            revoked = keys.revoke(key._core_key(), now)
            key.write({**self._secret_vals(revoked), "revoked_at": naive(revoked.revoked_at)})

    def action_open_requests(self):
        """What was asked with this key."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.trackflow_api_request_log_action"
        )
        return {**action, "domain": [("key_id", "in", self.ids)], "context": {}}

    def _show(self, token):
        return {
            "type": "ir.actions.act_window",
            "res_model": "trackflow.api.key.show",
            "name": self.env._("The Key of %s", self.name),
            "views": [(False, "form")],
            "target": "new",
            "context": {"default_token": token},
        }

    @api.model
    def _secret_vals(self, key):
        until = key.previous_until
        return {
            "key_hash": key.hashed or False,
            "previous_hash": key.previous_hashed or False,
            "previous_until": naive(until).replace(microsecond=0) if until else False,
        }

    def _scopes(self):
        return self.permission_ids.mapped("permission_type")

    def _core_key(self):
        """This key as the API knows it."""
        self.ensure_one()
        row = {name: self[name] for name in _COLUMNS}
        return _api_key(row, self._scopes(), self.ip_whitelist_ids.mapped("ip_address"))

    @api.model
    def _core_keys(self, prefixes):
        """The keys of these prefixes as the API knows them, by one statement."""
        self.flush_model()
        self.env["trackflow.api.permission"].flush_model()
        self.env["trackflow.api.ip.whitelist"].flush_model()
        self.env.cr.execute(
            SQL(
                """
                SELECT %s,
                       ARRAY(SELECT permission_type FROM trackflow_api_permission
                              WHERE key_id = k.id) AS scopes,
                       ARRAY(SELECT ip_address FROM trackflow_api_ip_whitelist
                              WHERE key_id = k.id ORDER BY id) AS networks
                  FROM trackflow_api_key k WHERE k.key_prefix = ANY(%s)
                """,
                SQL(", ").join(SQL.identifier("k", name) for name in _COLUMNS),
                list(prefixes),
            )
        )
        return [_api_key(row, row["scopes"], row["networks"]) for row in self.env.cr.dictfetchall()]

    @api.model
    @tools.ormcache("prefix")
    def _owner_of(self, prefix):
        """The ids of a key's user and of that user's company; None when the user has left.

        Odoo empties this cache when a user leaves or changes company.
        """
        self.flush_model(["key_prefix", "user_id"])
        self.env["res.users"].flush_model(["active", "company_id"])
        self.env.cr.execute(
            SQL(
                """
                SELECT u.id, u.company_id FROM trackflow_api_key k
                  JOIN res_users u ON u.id = k.user_id AND u.active
                 WHERE k.key_prefix = %s
                """,
                prefix,
            )
        )
        return self.env.cr.fetchone()

    @api.model
    def _owner_env(self, prefix):
        """The environment of the user of a key; None when the user has left."""
        owner = self._owner_of(prefix)
        if owner is None:
            return None
        user_id, company_id = owner
        env = self.env(user=user_id, su=False, context={})
        # The user's own company first: new records are its.
        companies = dict.fromkeys((company_id, *env.user._get_company_ids()))
        context = {**env["res.users"].context_get(), "allowed_company_ids": [*companies]}
        return env(context=context)


def _api_key(row, scopes, networks_of_key):
    def moment(value):
        return aware(value) if value else None

    return ApiKey(
        id=row["key_prefix"] or "",
        name=row["name"],
        hashed=row["key_hash"] or "",
        scopes=frozenset(scopes),
        networks=tuple(networks_of_key),
        created_at=moment(row["created_at"]),
        expires_at=moment(row["expires_at"]),
        revoked_at=moment(row["revoked_at"]),
        previous_hashed=row["previous_hash"] or "",
        previous_until=moment(row["previous_until"]),
        hourly_limit=row["hourly_limit"] or 0,
        last_used_at=moment(row["last_used"]),
        usage_count=row["usage_count"] or 0,
    )


class TrackflowApiKeyShow(models.AbstractModel):
    """Shows a key once; nothing of it is kept."""

    _name = "trackflow.api.key.show"
    _description = "Show API Key"

    # The onchange that gives the value of `token` needs one.
    id = fields.Id()
    token = fields.Char("Key", readonly=True)


class TrackflowApiPermission(models.Model):
    """One thing that a key may do."""

    _name = "trackflow.api.permission"
    _description = "TrackFlow API Permission"
    _order = "permission_type, id"

    key_id = fields.Many2one("trackflow.api.key", required=True, index=True, ondelete="cascade")
    permission_type = fields.Selection(
        selection="_selection_permission_type", string="May", required=True
    )

    _key_type_uniq = models.UniqueIndex(
        "(key_id, permission_type)", "This permission is given already."
    )

    @api.model
    def _selection_permission_type(self):
        routes = plugin_hooks(self.env).api_routes.values()
        scopes = keys.SCOPES | {route.scope for route in routes}
        verbs = {"read": self.env._("read"), "write": self.env._("read and change")}
        return [
            (scope, f"{verbs.get(scope.partition(':')[2], '')} {scope.partition(':')[0]}")
            for scope in sorted(scopes)
        ]


class TrackflowApiIpWhitelist(models.Model):
    """A network from which a key may be used."""

    _name = "trackflow.api.ip.whitelist"
    _description = "TrackFlow API Network"
    _order = "id"
    _rec_name = "ip_address"

    key_id = fields.Many2one("trackflow.api.key", required=True, index=True, ondelete="cascade")
    ip_address = fields.Char("Network", required=True, help="192.0.2.7 or 192.0.2.0/24")
    description = fields.Char()

    @api.constrains("ip_address")
    def _check_ip_address(self):
        for network in self:
            try:
                networks.parse(network.ip_address)
            except ConfigError:
                raise ValidationError(
                    self.env._(
                        "“%s” is no network: write it as in 10.1.0.0/16.", network.ip_address
                    )
                ) from None
