from odoo.addons.trackflow.store import OdooStore
from odoo.tests import TransactionCase, tagged

from trackflow_core.testing.stores import StoreContract


@tagged("post_install", "-at_install")
class TestOdooStore(StoreContract, TransactionCase):
    """The core's own contract for stores, and its golden scenarios, over Odoo's tables."""

    allow_inherited_tests_method = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The kit expects an empty store, whatever the database holds.
        cls.env.cr.execute("DELETE FROM trackflow_click_queue")
        cls.env.cr.execute("DELETE FROM link_tracker_click")
        cls.env.company.currency_id = cls.env.ref("base.EUR")
        cls.env.ref("base.EUR").active = True
        # Whether an engine asks for accounts at all, the kit says itself.
        cls.env.company.trackflow_account_journeys = True

    def new_store(self, links):
        """Undo the story told before: a test of the kit tells several."""
        if hasattr(self, "_story"):
            self._story.close(rollback=True)
            self.env.transaction.clear()
        self.env.flush_all()
        self._story = self.env.cr.savepoint(flush=False)
        for link in links:
            self._make_link(link)
        return OdooStore(self.env)

    def _make_link(self, link):
        names = {
            "campaign_id": ("utm.campaign", link.campaign),
            "medium_id": ("utm.medium", link.medium),
            "source_id": ("utm.source", link.source),
        }
        utm = {
            field: self.env["utm.mixin"]._find_or_create_record(model, name).id
            for field, (model, name) in names.items()
        }
        record = self.env["link.tracker"].create({"url": link.destination, **utm})
        record.code = link.code

    def credits_of(self, store, deal_ref):
        rows = self._lead("trackflow_deal_ref", deal_ref).trackflow_attribution_ids
        return tuple(
            (
                row.touch_key or None,
                round(row.value * 10**row.currency_id.decimal_places),
            )
            for row in rows.sorted("sequence")
        )

    def digest_of(self, store, deal_ref):
        [digest] = set(
            self._lead("trackflow_deal_ref", deal_ref).trackflow_attribution_ids.mapped("digest")
        )
        return digest

    def summary_of(self, store, lead_ref):
        lead = self._lead("trackflow_lead_ref", lead_ref)
        touches = {
            touch.occurred_at.replace(tzinfo=None): touch.id
            for touch in store.touches({lead_ref})[lead_ref]
        }

        def event(moment):
            return touches.get(moment) if moment else None

        return (
            event(lead.trackflow_first_touch_date),
            event(lead.trackflow_last_touch_date),
            lead.trackflow_touch_count,
        )

    def recorded_clicks(self, store):
        clicks = self.env["link.tracker.click"].search([("trackflow_event_id", "!=", False)])
        events = self.env["trackflow.event"].search([])
        return [*clicks.mapped("trackflow_event_id"), *events.mapped("event_id")]

    def rejected_clicks(self, store):
        rows = self.env["trackflow.click.queue"].search([("status", "=", "failed")])
        return {row.event_id: row.error_message for row in rows}

    def conversion_of(self, store, ref, kind):
        field = "trackflow_lead_ref" if kind == "lead" else "trackflow_deal_ref"
        conversion = self.env["trackflow.conversion"].search(
            [("lead_id", "=", self._lead(field, ref).id), ("kind", "=", kind)]
        )
        return round(conversion.value * 100) if conversion else None

    def commit(self, store):
        self.env.cr.postcommit.run()

    def _lead(self, field, ref):
        return self.env["crm.lead"].with_context(active_test=False).search([(field, "=", ref)])
