from pathlib import Path

from odoo import api, models
from odoo.http import GeoIP
from odoo.tools import SQL, config

from trackflow_core.engine import Engine

from ..engine import plugin_hooks, settings
from ..front import CHANNEL, Site
from ..keys import visitor_keys
from ..redirects import Place

# Of these tables only some columns bear on what is answered; the others change all the time.
_COLUMNS = {
    "link_tracker": (
        "url",
        "active",
        "campaign_id",
        "medium_id",
        "source_id",
        "trackflow_content",
        "trackflow_term",
        "trackflow_paused",
        "trackflow_start_date",
        "trackflow_expiry_date",
        "trackflow_fallback_url",
        "trackflow_language",
        "trackflow_zone",
        "trackflow_company_id",
    ),
    "res_partner": ("tz",),
    "trackflow_connector": (
        "active",
        "connector",
        "instance",
        "option_values",
        "option_secrets_encrypted",
        "secret_encrypted",
        "former_secret_encrypted",
        "former_secret_until",
    ),
    "utm_campaign": ("name",),
    "utm_medium": ("name",),
    "utm_source": ("name",),
}
_TABLES = (
    "ir_config_parameter",
    "ir_module_module",
    "link_tracker_code",
    "res_company",
    "trackflow_domain",
    "trackflow_domain_header",
    "trackflow_internal_ip_range",
    "trackflow_link_rule",
    "trackflow_link_rule_country_rel",
    "trackflow_link_variant",
    "trackflow_plugin",
)


class TrackflowFront(models.AbstractModel):
    """What is kept in memory in front of Odoo's dispatch, and when it is forgotten.

    Triggers say so on a channel of PostgreSQL at the commit that changes something, whoever
    changes it and however.
    """

    _name = "trackflow.front"
    _description = "Answers in Front of Odoo"

    @api.model
    def _site(self, host):
        """What holds for anonymous visitors of `host`, which may have a port."""
        user = self._visitor_user(host)
        company_id = self._company_id(host, user)
        return Site(
            user_id=user.id,
            rules=self.env["res.company"]._trackflow_rules(company_id),
            keys=visitor_keys(self.env),
            asks_consent=self._asks_consent(host),
            domains=self.env["link.tracker"]._trackflow_own_hosts(),
            place=Place(
                engine=Engine(None, plugin_hooks(self.env), settings(self.env)),
                short_hosts=self.env["trackflow.domain"]._short_hosts(),
                base_url=self.env["link.tracker"].get_base_url(),
                no_external=bool(
                    self.env["ir.config_parameter"].get_param("link_tracker.no_external_tracking")
                ),
                country=_country if _has_countries() else lambda _address: "",
            ),
        )

    @api.model
    def _visitor_user(self, _host):
        return self.env.ref("base.public_user")

    @api.model
    def _company_id(self, _host, user):
        return user.company_id.id

    @api.model
    def _asks_consent(self, _host):
        """See `ir.http._trackflow_asks_consent`."""
        return False

    @api.model
    def _watched(self):
        """The columns whose change is told, by table; all of them where there are none."""
        return {**_COLUMNS, **dict.fromkeys(_TABLES, ())}

    def init(self):
        self.pool.post_init(self._watch)

    def _watch(self):
        cr = self.env.cr
        cr.execute(
            SQL(
                """
                CREATE OR REPLACE FUNCTION trackflow_front_changed() RETURNS trigger AS $$
                BEGIN
                    PERFORM pg_notify(%s, '');
                    RETURN NULL;
                END
                $$ LANGUAGE plpgsql
                """,
                CHANNEL,
            )
        )
        for table, columns in self._watched().items():
            changed = SQL("UPDATE")
            if columns:
                changed = SQL("UPDATE OF %s", SQL(", ").join(map(SQL.identifier, columns)))
            cr.execute(
                SQL(
                    """
                    CREATE OR REPLACE TRIGGER trackflow_front
                    AFTER INSERT OR DELETE OR %s ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION trackflow_front_changed()
                    """,
                    changed,
                    SQL.identifier(table),
                )
            )

    @api.model
    def _unwatch(self):
        self.env.cr.execute("DROP FUNCTION IF EXISTS trackflow_front_changed() CASCADE")


def _country(address):
    return GeoIP(address).country_code or ""


def _has_countries():
    # Odoo looks for a missing file again at each address.
    return any(Path(config[name]).exists() for name in ("geoip_country_db", "geoip_city_db"))
