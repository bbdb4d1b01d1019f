from odoo import api, fields, models, tools
from odoo.tools import SQL

from trackflow_core.config import Settings
from trackflow_core.model import Context, Tier
from trackflow_core.tracking import networks
from trackflow_core.tracking.consent import IpPolicy, Policy

from ..keys import visitor_keys
from ..privacy import Rules
from ..relations import see_to

# What `_trackflow_rules` is made of.
_RULES = frozenset(
    (
        "trackflow_consent_required",
        "trackflow_cookie_days",
        "trackflow_exclude_internal",
        "trackflow_ip_policy",
        "trackflow_respect_signals",
        "trackflow_tracking_enabled",
        "trackflow_without_consent",
    )
)


class ResCompany(models.Model):
    _inherit = "res.company"

    trackflow_attribution_model_id = fields.Many2one(
        "trackflow.attribution.model",
        "Attribution Model",
        default=lambda self: self.env.ref(
            "trackflow.attribution_model_linear", raise_if_not_found=False
        ),
        help="Splits the deals that choose no model of their own.",
    )
    trackflow_window_days = fields.Integer(
        "Attribution Window (days)",
        default=90,
        help="How far before a deal touches may earn credit, unless its model says otherwise.",
    )
    trackflow_code_length = fields.Integer(
        "Length of Link Codes", default=7, help="Characters in the codes of new tracked links."
    )
    trackflow_cookie_days = fields.Integer(
        "Visitor Cookie (days)", default=365, help="How long a visitor is recognised."
    )
    trackflow_tracking_enabled = fields.Boolean("Record Clicks and Visits", default=True)
    trackflow_consent_required = fields.Boolean(
        "Only After Consent",
        help="Also where no cookie bar has asked: visitors who were not asked are only counted.",
    )
    trackflow_without_consent = fields.Selection(
        [("aggregate", "Only count clicks"), ("none", "Keep nothing")],
        "Without Consent",
        default="aggregate",
        required=True,
        help="What is kept of the clicks of people who do not agree, or object.",
    )
    trackflow_respect_signals = fields.Boolean(
        "Heed Browser Signals",
        default=True,
        help="People whose browser sends Global Privacy Control or Do Not Track object by that.",
    )
    trackflow_ip_policy = fields.Selection(
        [
            ("short", "Keep the network only"),
            ("full", "Keep nothing"),
            ("off", "Keep the whole address"),
        ],
        "IP Addresses",
        default="short",
        required=True,
    )
    trackflow_exclude_internal = fields.Boolean(
        "Leave Out Own Networks",
        default=True,
        help="Clicks from the networks listed are marked as staff's and earn nothing. "
        "Those of people signed in as staff never earn anything.",
    )
    trackflow_internal_range_ids = fields.One2many(
        "trackflow.internal.ip.range", "company_id", "Own Networks"
    )
    trackflow_account_journeys = fields.Boolean(
        "Journeys of Accounts",
        help="A deal's journey takes in the touches of all leads of the same customer company.",
    )
    trackflow_human_touches = fields.Boolean(
        "Calls and Meetings Are Touches",
        help="Calls that were made and meetings that were held share in deals like clicks do.",
    )

    _trackflow_window_days_positive = models.Constraint(
        "CHECK (trackflow_window_days > 0)", "The attribution window must be one day or more."
    )
    _trackflow_code_length_range = models.Constraint(
        "CHECK (trackflow_code_length BETWEEN 5 AND 32)",
        "Link codes have between 5 and 32 characters.",
    )
    _trackflow_cookie_days_range = models.Constraint(
        "CHECK (trackflow_cookie_days BETWEEN 1 AND 400)",
        "The visitor cookie lives between 1 and 400 days; browsers allow no more.",
    )

    def init(self):
        # Odoo makes companies while it updates its own modules, before our code is loaded.
        self.env.cr.execute(
            """
            ALTER TABLE res_company
                ALTER trackflow_without_consent SET DEFAULT 'aggregate',
                ALTER trackflow_ip_policy SET DEFAULT 'short'
            """
        )
        return super().init()

    def write(self, vals):
        result = super().write(vals)
        if _RULES & vals.keys():
            self.env.registry.clear_cache()
        if "trackflow_account_journeys" in vals:
            self.env.registry.clear_cache()
            self._trackflow_accounts_changed()
        return result

    @api.model
    @tools.ormcache("company_id")
    def _trackflow_rules(self, company_id):
        """What holds for the requests to this company's site; see `privacy`."""
        company = self.sudo().browse(company_id)
        without = Tier(company.trackflow_without_consent)
        ranges = company.trackflow_internal_range_ids if company.trackflow_exclude_internal else ()
        return Rules(
            company_id=company_id,
            enabled=company.trackflow_tracking_enabled,
            cookie_days=company.trackflow_cookie_days,
            ip_policy=IpPolicy(company.trackflow_ip_policy),
            policy=Policy(
                unknown=without if company.trackflow_consent_required else Tier.FULL,
                denied=without,
                signal=without,
            ),
            signals=company.trackflow_respect_signals,
            internal_networks=tuple(networks.parse(own.ip_range) for own in ranges),
        )

    @api.model_create_multi
    def create(self, vals_list):
        self.env.registry.clear_cache()
        return super().create(vals_list)

    def unlink(self):
        result = super().unlink()
        see_to(self)
        self.env["trackflow.model.credit"]._compare_all()
        return result

    @api.model
    @tools.ormcache()
    def _trackflow_settings(self):
        """The core's settings; made once, for every redirect asks for them."""
        return Settings(
            zone=self.env["ir.config_parameter"].sudo().get_param("trackflow.session_zone")
            or "UTC",
            account_journeys=bool(self._trackflow_account_companies()),
            own_hosts=self.env["link.tracker"].sudo()._trackflow_own_hosts(),
            engagement=self.env["trackflow.visitor"]._engagement_formula(),
            keys=visitor_keys(self.env),
            context=Context(host="odoo", tenant=self.env.cr.dbname),
        )

    @api.model
    @tools.ormcache()
    def _trackflow_account_companies(self):
        """The companies whose deals have the journeys of accounts."""
        return tuple(self.sudo().search([("trackflow_account_journeys", "=", True)]).ids)

    def _trackflow_accounts_changed(self):
        """Let the click job split the deals of accounts anew."""
        self.env["crm.lead"].flush_model(["company_id", "partner_id", "type"])
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_lead SET trackflow_stale = TRUE
                 WHERE (company_id = ANY(%s) OR company_id IS NULL) AND type = 'opportunity'
                   AND (partner_id IS NOT NULL OR trackflow_account IS NOT NULL)
                """,
                self.ids,
            )
        )
        self.env["crm.lead"].invalidate_model(["trackflow_stale"], flush=False)

    @api.model
    def _trackflow_init_attribution_model(self):
        """Give the companies that were there before the addon a default model."""
        linear = self.env.ref("trackflow.attribution_model_linear")
        self.search([("trackflow_attribution_model_id", "=", False)]).write(
            {"trackflow_attribution_model_id": linear.id}
        )
