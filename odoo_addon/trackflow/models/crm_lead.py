import logging
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from odoo import api, fields, models
from odoo.exceptions import MissingError
from odoo.tools import SQL

from trackflow_core.errors import InvalidEvent
from trackflow_core.tracking.identity import read_token

from ..engine import build_engine
from ..guard import guard
from ..keys import visitor_keys
from ..relations import see_to
from ..store import OdooStore, local_ref

# What a deal's credits follow from.
_DEAL_FIELDS = (
    "company_id",
    "expected_revenue",
    "trackflow_attribution_model_id",
    "trackflow_closed_date",
    "trackflow_deal_date",
    "trackflow_won_revenue",
    "type",
    "won_status",
)
# What moves one of these when it is written.
_MOVING_FIELDS = frozenset(
    (*_DEAL_FIELDS, "active", "partner_id", "probability", "stage_id", "team_id", "user_id")
)
# What a lead has that is told of elsewhere, or came here by a visitor.
_TOLD_FIELDS = (
    "trackflow_deal_ref",
    "trackflow_lead_ref",
    "trackflow_origin_id",
    "trackflow_touch_count",
    "trackflow_visitor_id",
)
_CHANGED = "trackflow.leads"


_logger = logging.getLogger(__name__)


def _now():
    """The present in the whole seconds that Odoo keeps; up, so that a click just before counts."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    return now.replace(microsecond=0) + timedelta(seconds=1)


class CrmLead(models.Model):
    _inherit = "crm.lead"

    trackflow_visitor_token = fields.Char(
        "Visitor Token",
        store=False,
        copy=False,
        help="A signed proof of who the visitor is, given along with a lead; never kept.",
    )
    trackflow_visitor_id = fields.Many2one(
        "trackflow.visitor",
        "Visitor",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
    )
    trackflow_visitor_ids = fields.Many2many(
        "trackflow.visitor",
        "crm_lead_trackflow_visitor_rel",
        "lead_id",
        "visitor_id",
        "Visitors",
        readonly=True,
        copy=False,
        context={"active_test": False},
        groups="trackflow.group_trackflow_campaign_manager",
    )
    trackflow_source = fields.Char(
        "Marketing Source", readonly=True, copy=False, help="Of the last touch before the lead."
    )
    trackflow_medium = fields.Char("Marketing Medium", readonly=True, copy=False)
    trackflow_campaign = fields.Char("Marketing Campaign", readonly=True, copy=False)
    trackflow_first_touch_source = fields.Char("First Touch Source", readonly=True, copy=False)
    trackflow_last_touch_source = fields.Char("Last Touch Source", readonly=True, copy=False)
    trackflow_first_touch_date = fields.Datetime("First Touch", readonly=True, copy=False)
    trackflow_last_touch_date = fields.Datetime("Last Touch", readonly=True, copy=False)
    trackflow_touch_count = fields.Integer("Touches", readonly=True, copy=False)
    trackflow_marketing_influenced = fields.Boolean(
        "Influenced by Marketing", readonly=True, copy=False
    )
    trackflow_attributed_elsewhere = fields.Boolean(
        "Attributed Elsewhere",
        readonly=True,
        copy=False,
        help="A TrackFlow outside of this Odoo told its touches. Touches that are seen here count "
        "before them.",
    )
    trackflow_attribution_model_id = fields.Many2one(
        "trackflow.attribution.model",
        "Attribution Model",
        copy=False,
        ondelete="restrict",
        help="Splits this deal's value; empty means the company's default.",
    )
    trackflow_lead_date = fields.Datetime(
        "Lead Came In",
        copy=False,
        default=lambda self: _now(),
        help="Touches up to this moment led to the lead.",
    )
    trackflow_deal_date = fields.Datetime(
        "Became a Deal",
        compute="_compute_trackflow_deal_date",
        store=True,
        readonly=False,
        precompute=True,
        copy=False,
    )
    trackflow_closed_date = fields.Datetime(
        "Won or Lost On",
        compute="_compute_trackflow_closed_date",
        store=True,
        readonly=False,
        copy=False,
    )
    trackflow_won_revenue = fields.Monetary(
        "Revenue Won",
        currency_field="company_currency",
        readonly=True,
        copy=False,
        help="What orders brought. A won deal earns this instead of its expected revenue.",
    )
    trackflow_lead_ref = fields.Char("Lead Reference", readonly=True, copy=False)
    trackflow_deal_ref = fields.Char("Deal Reference", readonly=True, copy=False)
    trackflow_lead_version = fields.Char(readonly=True, copy=False, groups=fields.NO_ACCESS)
    trackflow_deal_version = fields.Char(readonly=True, copy=False, groups=fields.NO_ACCESS)
    # When the fact occurred that named the lead of the deal, in ISO 8601.
    trackflow_lead_told_at = fields.Char(readonly=True, copy=False, groups=fields.NO_ACCESS)
    trackflow_origin_id = fields.Many2one(
        "crm.lead",
        "Original Lead",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
        help="The lead this deal came from, where that is a record of its own.",
    )
    trackflow_account = fields.Char(
        "Account Reference", readonly=True, copy=False, index="btree_not_null"
    )
    trackflow_stale = fields.Boolean(readonly=True, copy=False, groups=fields.NO_ACCESS)
    trackflow_pending_visitors = fields.Char(readonly=True, copy=False, groups=fields.NO_ACCESS)
    trackflow_attribution_ids = fields.One2many(
        "trackflow.deal.attribution", "lead_id", "Attribution", readonly=True, copy=False
    )

    _trackflow_lead_ref_uniq = models.UniqueIndex(
        "(trackflow_lead_ref) WHERE trackflow_lead_ref IS NOT NULL",
        "This lead of the other CRM is already here.",
    )
    _trackflow_deal_ref_uniq = models.UniqueIndex(
        "(trackflow_deal_ref) WHERE trackflow_deal_ref IS NOT NULL",
        "This deal of the other CRM is already here.",
    )
    _trackflow_stale_idx = models.Index("(id) WHERE trackflow_stale IS TRUE")

    @api.depends("type")
    def _compute_trackflow_deal_date(self):
        now = _now()
        for lead in self:
            if lead.type != "opportunity":
                lead.trackflow_deal_date = False
            elif not lead.trackflow_deal_date:
                lead.trackflow_deal_date = now

    @api.depends("won_status")
    def _compute_trackflow_closed_date(self):
        for lead in self:
            if lead.won_status not in ("won", "lost"):
                lead.trackflow_closed_date = False
            elif not lead.trackflow_closed_date:
                # Odoo cuts its date down to the second.
                closed = lead.date_closed and lead.date_closed + timedelta(seconds=1)
                lead.trackflow_closed_date = closed or _now()

    # -- what happens in Odoo, told to the engine ------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        if self.env.context.get("trackflow_from_engine"):
            return super().create(vals_list)
        tokens = [vals.get("trackflow_visitor_token") for vals in vals_list]
        leads = super().create(
            [
                {key: value for key, value in vals.items() if key != "trackflow_visitor_token"}
                for vals in vals_list
            ]
        )
        leads._trackflow_created(
            {lead.id: token for lead, token in zip(leads, tokens, strict=True) if token}
        )
        return leads

    def write(self, vals):
        if self.env.context.get("trackflow_from_engine"):
            return super().write(vals)
        vals = dict(vals)
        token = vals.pop("trackflow_visitor_token", None)
        before = {}
        if _MOVING_FIELDS & vals.keys():
            before = self._trackflow_remember(_CHANGED, self._trackflow_deal_values)
        accounts = self._trackflow_accounts() if "partner_id" in vals else []
        result = super().write(vals)
        if before:
            self._trackflow_unsettled(_CHANGED).update(before)
            self.invalidate_recordset(["trackflow_attribution_ids"], flush=False)
        if accounts:
            self._trackflow_accounts_changed(accounts + self._trackflow_accounts())
        if token:
            self._trackflow_bind(dict.fromkeys(self.ids, token))
        return result

    def _merge_get_fields_specific(self):
        return {
            **super()._merge_get_fields_specific(),
            "trackflow_lead_date": lambda _name, leads: min(
                leads.filtered("trackflow_lead_date").mapped("trackflow_lead_date"), default=False
            ),
        }

    def unlink(self):
        result = super().unlink()
        see_to(self)
        return result

    def _merge_dependences(self, opportunities):
        result = super()._merge_dependences(opportunities)
        if (self | opportunities)._trackflow_have_journeys():
            self._trackflow_merge(opportunities)
        return result

    def _trackflow_merge(self, opportunities):
        """Give this record the journeys and deals of `opportunities`."""
        # Odoo deletes the others next, with all that was to be taken over.
        with guard(self.env, "merging leads", self.id, host_retries=True):
            build_engine(self.env, OdooStore(self.env, absorb_deals=True)).merge_leads(
                self._trackflow_ref(), [lead._trackflow_ref() for lead in opportunities]
            )

    def _trackflow_have_journeys(self):
        """Whether anything but the CRM itself tells of these records."""
        leads = self.sudo()
        if any(lead[name] for name in _TOLD_FIELDS for lead in leads):
            return True
        leads.flush_model(["trackflow_origin_id"])
        self.env["trackflow.deal.link"].flush_model(["lead_id"])
        [(found,)] = self.env.execute_query(
            SQL(
                """
                SELECT EXISTS (SELECT FROM crm_lead_trackflow_visitor_rel
                                WHERE lead_id = ANY(%(ids)s))
                    OR EXISTS (SELECT FROM trackflow_touch WHERE lead_ref = ANY(%(refs)s))
                    OR EXISTS (SELECT FROM trackflow_deal_link WHERE lead_id = ANY(%(ids)s))
                    OR EXISTS (SELECT FROM trackflow_merged_ref WHERE lead_id = ANY(%(ids)s))
                    OR EXISTS (SELECT FROM crm_lead WHERE trackflow_origin_id = ANY(%(ids)s))
                """,
                ids=self.ids,
                refs=[local_ref(lead_id) for lead_id in self.ids],
            )
        )
        return found

    def _trackflow_ref(self):
        """What the engine calls this record as a lead."""
        return self.sudo().trackflow_lead_ref or local_ref(self.id)

    def _trackflow_created(self, tokens):
        """Tell the engine of records that have just been created; `tokens` by id."""
        ids = self.ids
        with guard(self.env, "creating leads", ids[:5], lambda: self._trackflow_later(tokens)):
            store = OdooStore(self.env, new_leads=ids, defer_counters=True)
            records = store.records(ids)
            visitors = self._trackflow_read_tokens(tokens)
            of_mails = self._trackflow_mail_visitors()
            build_engine(self.env, store).apply(
                [
                    replace(
                        lead,
                        visitor_ids=visitors.get(lead_id, frozenset()),
                        email_visitor_ids=of_mails.get(lead_id, frozenset()),
                    )
                    for lead_id, lead, _deal in records
                ],
                [deal for _id, _lead, deal in records if deal],
            )

    def _trackflow_mail_visitors(self):
        """The visitors, by id of the lead, who opened a signed link in a mail to its address."""
        return {}

    def _trackflow_bind(self, tokens):
        """Bind the visitors that `tokens`, by id, name to leads that are there already."""
        with guard(
            self.env, "binding visitors", self.ids[:5], lambda: self._trackflow_later(tokens)
        ):
            store = OdooStore(self.env, defer_counters=True)
            visitors = self._trackflow_read_tokens(tokens)
            build_engine(self.env, store).apply(
                [
                    replace(lead, ref=local_ref(lead_id), visitor_ids=visitors[lead_id])
                    for lead_id, lead, _deal in store.records(self.ids)
                ]
            )

    # -- what is settled once a transaction -------------------------------------------------

    def _trackflow_unsettled(self, kind):
        """What this transaction remembers of `kind`, by id, until `_trackflow_settle`."""
        precommit = self.env.cr.precommit
        if kind not in precommit.data:
            precommit.add(self.env["crm.lead"]._trackflow_settle)
        return precommit.data.setdefault(kind, {})

    def _trackflow_remember(self, kind, values_of):
        """What `values_of` told of these records before the transaction, by id.

        Whoever reads in the middle of a write settles too early, so it is kept again afterwards.
        """
        before = self._trackflow_unsettled(kind)
        for lead in self.sudo():
            if lead.id not in before:
                before[lead.id] = values_of(lead)
        return {lead_id: before[lead_id] for lead_id in self._ids}

    @api.model
    def _trackflow_settle(self):
        """Bring credits up to what this transaction has written of leads.

        It is done before the commit, and by whoever reads what follows from leads before that.
        """
        before = self.env.cr.precommit.data.pop(_CHANGED, {})
        changed = self._trackflow_changed_since(before, self._trackflow_deal_values)
        deals = changed.filtered(lambda lead: lead.type == "opportunity")
        if deals:
            with guard(self.env, "changing deals", deals.ids[:5], deals._trackflow_later):
                build_engine(self.env).recompute(
                    [lead.trackflow_deal_ref or local_ref(lead.id) for lead in deals]
                )
        (changed - deals).filtered(
            lambda lead: before[lead.id]["type"] == "opportunity"
        )._trackflow_no_longer_deals()

    @api.model
    def _trackflow_changed_since(self, before, values_of):
        """The records of which `values_of` tells something else than `before`, by id."""
        leads = self.sudo().browse(before)

        def changed(lead):
            return values_of(lead) != before[lead.id]

        try:
            return leads.filtered(changed)
        except MissingError:
            return leads.exists().filtered(changed)

    @api.model
    def _trackflow_deal_values(self, lead):
        fields_of_deals = (self._fields[name] for name in _DEAL_FIELDS)
        return {
            field.name: field.convert_to_write(lead[field.name], lead) for field in fields_of_deals
        }

    @api.model
    def _trackflow_has_accounts(self):
        return bool(self.env["res.company"]._trackflow_account_companies())

    def _trackflow_accounts(self):
        """The customers whose leads share a journey with these, where journeys are those of
        accounts."""
        if not self._trackflow_has_accounts():
            return []
        return self.sudo().partner_id.commercial_partner_id.ids or [0]

    def _trackflow_accounts_changed(self, commercial_partner_ids):
        """Let the click job split the deals of these customers, and of these records, anew."""
        with guard(self.env, "changing accounts", self.ids[:5], host_retries=True):
            leads = (
                self.sudo()
                .with_context(active_test=False)
                .search([("partner_id.commercial_partner_id", "in", commercial_partner_ids)])
            )
            OdooStore(self.env).mark_records_stale(dict.fromkeys((leads | self).ids, ()))

    def _trackflow_no_longer_deals(self):
        """Take back what these records had earned as deals."""
        if not self:
            return
        with guard(self.env, "turning deals into leads", self.ids[:5], host_retries=True):
            self.env.cr.execute(
                SQL("DELETE FROM trackflow_deal_attribution WHERE lead_id = ANY(%s)", self.ids)
            )
            self.env.cr.execute(
                SQL(
                    "DELETE FROM trackflow_conversion WHERE lead_id = ANY(%s) AND kind = 'won'",
                    self.ids,
                )
            )
            self.env.cr.execute(
                SQL("DELETE FROM trackflow_model_credit WHERE lead_id = ANY(%s)", self.ids)
            )
            self.env["trackflow.deal.attribution"].invalidate_model(flush=False)
            self.env["trackflow.model.credit"].invalidate_model(flush=False)
            self.env["trackflow.conversion"].invalidate_model(flush=False)
            self.invalidate_recordset(["trackflow_attribution_ids"], flush=False)

    def _trackflow_later(self, tokens=None):
        """Leave these records to the click job, because somebody else is at work on them."""
        visitors = self._trackflow_read_tokens(tokens or {})
        OdooStore(self.env).mark_records_stale(
            {lead_id: visitors.get(lead_id, ()) for lead_id in self.ids}
        )

    @api.model
    def _trackflow_read_tokens(self, tokens):
        """The visitors that `tokens`, by id, name; a bad token must not lose the lead."""
        visitors, now, keys = {}, datetime.now(timezone.utc), visitor_keys(self.env)
        for lead_id, token in tokens.items():
            try:
                visitors[lead_id] = frozenset((read_token(token, keys, now),))
            except InvalidEvent as error:
                _logger.warning("Lead %s is kept without a visitor: %s", lead_id, error)
                visitors[lead_id] = frozenset()
        return visitors

    @api.model
    def _trackflow_recompute_model(self, model):
        """Split the deals that `model` splits anew; returns how many there are."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT DISTINCT COALESCE(lead.trackflow_deal_ref, %s || lead.id)
                  FROM trackflow_deal_attribution credit
                  JOIN crm_lead lead ON lead.id = credit.lead_id
                 WHERE credit.attribution_model_id = %s
                """,
                local_ref(""),
                model.id,
            )
        )
        return build_engine(self.env).recompute([row[0] for row in rows])
