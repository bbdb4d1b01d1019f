import time
from datetime import datetime, timedelta, timezone
from secrets import token_hex

from odoo import api, fields, models
from odoo.tools import SQL, config, format_datetime

from trackflow_core import doctor, hooks
from trackflow_core.attribution.allocation import to_minor_units
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError, TrackFlowError

from ..engine import OWN_PLUGINS, plugin_hooks, settings
from ..store import OdooStore

_PATIENCE = timedelta(minutes=10)
_OVERDUE = timedelta(hours=1)
_CLOCK_SECONDS = 2
_RECENT = timedelta(days=7)


class TrackflowHealth(models.TransientModel):
    """How each part of TrackFlow does in this database; looked at anew whenever it is opened."""

    _name = "trackflow.health"
    _description = "TrackFlow Health"

    line_ids = fields.One2many("trackflow.health.line", "health_id", readonly=True)
    attention_count = fields.Integer(compute="_compute_attention_count")

    def _compute_display_name(self):
        self.display_name = self.env._("Health")

    @api.depends("line_ids.state")
    def _compute_attention_count(self):
        for health in self:
            health.attention_count = len(
                health.line_ids.filtered(lambda line: line.state == "attention")
            )

    def action_open(self):
        self.check_access("create")
        return self._show(self.sudo()._look())

    def action_run_doctor(self):
        """Look again, and drive a made-up click to a deal's credit, which is rolled back."""
        self.check_access("create")
        return self._show([*self.sudo()._look(), self.sudo()._drive()])

    @api.model
    def _show(self, lines):
        health = self.create({"line_ids": [fields.Command.create(line) for line in lines]})
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Health"),
            "res_model": self._name,
            "res_id": health.id,
            "views": [(False, "form")],
            "target": "main",
        }

    @api.model
    def _look(self):
        """What each part says, in the order in which a click meets them."""
        return [
            self._look_at_redirects(),
            self._look_at_queue(),
            self._look_at_set_aside(),
            self._look_at_jobs(),
            self._look_at_plugins(),
            self._look_at_connectors(),
            self._look_at_messages(),
            self._look_at_failures(),
            self._look_at_rates(),
            self._look_at_clocks(),
        ]

    @api.model
    def _line(self, part, detail, remedy="", action=""):
        """One line; a `remedy` says that somebody should do something."""
        return {
            "part": part,
            "detail": detail,
            "remedy": remedy,
            "state": "attention" if remedy else "ok",
            "action": action,
        }

    @api.model
    def _look_at_redirects(self):
        env = self.env
        detail = env._(
            "Odoo's dispatch answers them. With trackflow among server_wide_modules they are "
            "answered before it, several times faster."
        )
        if "trackflow" in config["server_wide_modules"]:
            detail = env._("Answered in front of Odoo's dispatch.")
        return self._line(env._("Redirects"), detail)

    @api.model
    def _look_at_queue(self):
        env = self.env
        [[waiting, oldest, recorded]] = env.execute_query(
            SQL(
                """
                SELECT count(*) FILTER (WHERE status = 'queued'),
                       min(occurred_at) FILTER (WHERE status = 'queued'),
                       max(processed_at)
                  FROM trackflow_click_queue
                 WHERE status IN ('queued', 'done')
                """
            )
        )
        detail = env._("Waiting: %s.", waiting)
        if recorded:
            detail += " " + env._("The last were recorded on %s.", format_datetime(env, recorded))
        remedy = ""
        if oldest and oldest < fields.Datetime.now() - _PATIENCE:
            remedy = env._(
                "Clicks have waited since %s: see that Odoo runs scheduled actions (workers for "
                "them are set by max_cron_threads).",
                format_datetime(env, oldest),
            )
        return self._line(
            env._("Clicks Waiting"), detail, remedy, "trackflow.trackflow_click_queue_action"
        )

    @api.model
    def _look_at_set_aside(self):
        env = self.env
        number = env["trackflow.click.queue"].search_count([("status", "=", "failed")])
        remedy = env._("Open them, mend the cause, and let the job try once more.")
        return self._line(
            env._("Clicks Set Aside"),
            env._("Not recorded: %s.", number) if number else env._("None."),
            remedy if number else "",
            "trackflow.trackflow_click_queue_action",
        )

    @api.model
    def _look_at_jobs(self):
        env = self.env
        ours = env["ir.model.data"].search(
            [("model", "=", "ir.cron"), ("module", "=like", "trackflow%")]
        )
        taking_over = env.ref("trackflow.ir_cron_take_over")
        jobs = env["ir.cron"].with_context(active_test=False).browse(ours.mapped("res_id")).exists()
        now = fields.Datetime.now()
        problems = []
        for job in jobs:
            if not job.active and job != taking_over:
                problems.append(env._("“%s” is switched off.", job.name))
            elif job.active and job.failure_count:
                problems.append(
                    env._(
                        "“%(job)s” has failed %(times)s times.",
                        job=job.name,
                        times=job.failure_count,
                    )
                )
            elif job.active and job.nextcall < now - _OVERDUE:
                problems.append(
                    env._(
                        "“%(job)s” should have run on %(moment)s.",
                        job=job.name,
                        moment=format_datetime(env, job.nextcall),
                    )
                )
        remedy = env._("See Scheduled Actions, and the server's log for the cause.")
        return self._line(
            env._("Scheduled Actions"),
            " ".join(problems) or env._("%s run as they should.", len(jobs.filtered("active"))),
            remedy if problems else "",
            "base.ir_cron_act" if env.user.has_group("base.group_system") else "",
        )

    @api.model
    def _look_at_plugins(self):
        env = self.env
        names = env["trackflow.plugin"]._enabled_names()
        remedy = ""
        try:
            hooks.load(names)
        except ConfigError as error:
            remedy = str(error)
        return self._line(
            env._("Plugins"),
            ", ".join(sorted(names - OWN_PLUGINS))
            or env._("None but TrackFlow's own is switched on."),
            remedy,
            "trackflow.trackflow_plugin_action_open",
        )

    @api.model
    def _look_at_connectors(self):
        env = self.env
        connectors = env["trackflow.connector"].search([("active", "=", True)])
        failed = connectors.filtered("failed_count")
        untested = connectors.filtered(lambda one: one.checked_at and not one.is_ready)
        remedies = []
        if failed:
            remedies.append(
                env._("Events of %s failed: open them and retry.", ", ".join(failed.mapped("name")))
            )
        if untested:
            remedies.append(
                env._("The test of %s found problems.", ", ".join(untested.mapped("name")))
            )
        backlog = sum(connectors.mapped("backlog"))
        return self._line(
            env._("Connectors"),
            env._(
                "%(number)s switched on, %(backlog)s events and messages wait.",
                number=len(connectors),
                backlog=backlog,
            ),
            " ".join(remedies),
            "trackflow.trackflow_connector_action",
        )

    @api.model
    def _look_at_messages(self):
        env = self.env
        counted = dict(env["trackflow.outbox.message"]._read_group([], ["state"], ["__count"]))
        disabled = env["trackflow.webhook.endpoint"].search(
            [("active", "=", False), ("problem", "!=", False)]
        )
        remedies = self._late_messages()
        if counted.get("dead"):
            remedies.append(env._("%s were given up: open them and retry.", counted["dead"]))
        if disabled:
            remedies.append(
                env._(
                    "Endpoints were disabled after failures: %s.", ", ".join(disabled.mapped("url"))
                )
            )
        return self._line(
            env._("Outgoing Messages"),
            env._(
                "%(waiting)s wait, %(sent)s were sent.",
                waiting=counted.get("waiting", 0),
                sent=counted.get("sent", 0),
            ),
            " ".join(remedies),
            "trackflow.trackflow_outbox_message_action",
        )

    @api.model
    def _late_messages(self):
        """Of each receiver that has refused messages for a while, the reason of the last one."""
        messages = self.env["trackflow.outbox.message"]
        late = [
            ("state", "=", "waiting"),
            ("attempts", ">", 0),
            ("create_date", "<", fields.Datetime.now() - _PATIENCE),
        ]
        last = messages.browse(
            newest for _, newest in messages._read_group(late, ["target"], ["id:max"])
        )
        return [
            self.env._(
                "%(receiver)s has not taken messages for a while: %(reason)s",
                receiver=message.receiver,
                reason=message.reason,
            )
            for message in last
            if message.endpoint_id.active or message.connector_id.write_back
        ]

    @api.model
    def _look_at_failures(self):
        env = self.env
        since = fields.Datetime.now() - _RECENT
        number = env["trackflow.failure"].search_count([("last_at", ">=", since)])
        remedy = env._("Open them: each names its cause, and the server's log has the details.")
        return self._line(
            env._("Failures"),
            env._("Kinds in the last seven days: %s.", number) if number else env._("None."),
            remedy if number else "",
            "trackflow.trackflow_failure_action",
        )

    @api.model
    def _look_at_rates(self):
        env = self.env
        names = self._currencies_without_rate()
        detail = env._("Every foreign currency in use has one.")
        remedy = ""
        if names:
            detail = env._("None for %s.", ", ".join(names))
            remedy = env._(
                "Until there is one, amounts are converted one to one: enter a rate under "
                "Currencies, in the configuration of Invoicing."
            )
        return self._line(
            env._("Currency Rates"),
            detail,
            remedy,
            "base.action_currency_form" if env.user.has_group("base.group_system") else "",
        )

    @api.model
    def _currencies_without_rate(self):
        """Names of the active currencies that Odoo converts at its rate of 1.0 for want of any."""
        # The own currency of another company is what shared rates count from, and needs none.
        rows = self.env.execute_query(
            SQL(
                """
                SELECT DISTINCT currency.name
                  FROM (%s) used
                  JOIN res_currency currency ON currency.id = used.currency_id
                  JOIN res_company company ON company.id = used.company_id
                 WHERE currency.active AND currency.id != company.currency_id
                   AND NOT EXISTS (
                       SELECT FROM res_currency_rate rate
                        WHERE (rate.currency_id = currency.id
                               OR rate.currency_id = company.currency_id
                                  AND currency.id IN (SELECT currency_id FROM res_company))
                          AND (rate.company_id IS NULL OR rate.company_id
                               = split_part(company.parent_path, '/', 1)::int))
                 ORDER BY currency.name
                """,
                self._currencies_in_use(),
            )
        )
        return [name for (name,) in rows]

    @api.model
    def _currencies_in_use(self):
        """A query of the currencies in which amounts are kept, with the company of each."""
        return SQL(
            """
            SELECT currency_id, company_id FROM trackflow_campaign_cost
             UNION
            SELECT campaign.trackflow_currency_id, company.id
              FROM utm_campaign campaign
              JOIN res_company company
                ON company.id = COALESCE(campaign.trackflow_company_id, company.id)
            """
        )

    @api.model
    def _look_at_clocks(self):
        env = self.env
        [[there]] = env.execute_query(SQL("SELECT extract(epoch FROM clock_timestamp())"))
        apart = abs(time.time() - float(there))
        remedy = env._("Let both keep their time by NTP: windows and visits are counted by it.")
        return self._line(
            env._("Clocks"),
            env._("Odoo's and PostgreSQL's are %.1f seconds apart.", apart),
            remedy if apart > _CLOCK_SECONDS else "",
        )

    @api.model
    def _drive(self):
        """One line on whether a click still becomes a deal's credit, to the cent."""
        part = self.env._("From Click to Credit")
        try:
            self._try_journey()
        except TrackFlowError as error:
            return self._line(part, self.env._("Broken."), str(error))
        return self._line(
            part,
            self.env._("A made-up click earned its deal to the cent; nothing of it was kept."),
        )

    @api.model
    def _try_journey(self):
        # On a cursor of its own: with it goes what waits for a commit, such as mails.
        with self.env.registry.cursor() as cr:
            env = self.env(cr=cr, context={**self.env.context, "mail_create_nosubscribe": True})
            link = env["link.tracker"].create(
                {"url": f"https://example.com/{token_hex(8)}", "title": "doctor"}
            )
            store = OdooStore(env)
            # No plugin and no receiver is told of what did not happen.
            engine = Engine(store, plugin_hooks(env), settings(env))
            now, destination = datetime.now(timezone.utc), link.redirected_url
            currency = env.company.currency_id
            digits = currency.decimal_places
            try:
                trial = doctor.drive(engine, link.code, destination, now, currency.name, digits)
                env.flush_all()
                credits = env["trackflow.deal.attribution"].search(
                    [("lead_id.trackflow_deal_ref", "=", trial.deal_ref)]
                )
                doctor.check(
                    trial,
                    [(row.touch_key or "", to_minor_units(row.value, digits)) for row in credits],
                )
            finally:
                cr.rollback()


class TrackflowHealthLine(models.TransientModel):
    _name = "trackflow.health.line"
    _description = "TrackFlow Health of a Part"

    health_id = fields.Many2one("trackflow.health", required=True, ondelete="cascade")
    part = fields.Char(readonly=True)
    state = fields.Selection(
        [("ok", "Fine"), ("attention", "Needs Attention")], required=True, readonly=True
    )
    detail = fields.Char("What It Says", readonly=True)
    remedy = fields.Char("What to Do", readonly=True)
    action = fields.Char(readonly=True)

    def action_open(self):
        """The records that the line speaks of."""
        return self.env["ir.actions.actions"]._for_xml_id(self.action)
