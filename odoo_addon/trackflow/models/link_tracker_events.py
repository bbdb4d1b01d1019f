"""Webhook endpoints learn of links, wherever these are made, changed or archived."""

from functools import partial

from odoo import api, models

from trackflow_core.api import shapes
from trackflow_core.outbox import LINK_CHANGED, LINK_CREATED, LINK_DELETED, of_record

from ..catalog.records import Links
from ..store.outbox import OdooOutbox

# What a link is told by; the job that counts clicks changes none of it.
_TOLD = frozenset(
    (
        "active",
        "campaign_id",
        "medium_id",
        "source_id",
        "title",
        "trackflow_content",
        "trackflow_domain_id",
        "trackflow_expiry_date",
        "trackflow_fallback_url",
        "trackflow_language",
        "trackflow_paused",
        "trackflow_rule_ids",
        "trackflow_start_date",
        "trackflow_term",
        "trackflow_variant_ids",
        "trackflow_zone",
        "url",
    )
)
_PENDING = "trackflow.links"


class LinkTracker(models.Model):
    _inherit = "link.tracker"  # pylint: disable=consider-merging-classes-inherited

    @api.model_create_multi
    def create(self, vals_list):
        links = super().create(vals_list)
        links._trackflow_changed(LINK_CREATED)
        return links

    def write(self, vals):
        written = super().write(vals)
        if not _TOLD.isdisjoint(vals):
            self._trackflow_changed(LINK_DELETED if vals.get("active") is False else LINK_CHANGED)
        return written

    def unlink(self):
        if self._trackflow_is_wanted(LINK_DELETED):
            # Nothing could be told of them afterwards.
            self._trackflow_tell(dict.fromkeys(self.ids, LINK_DELETED))
        return super().unlink()

    def _trackflow_changed(self, event):
        """Tell of these links when the transaction ends: once, and as they are by then."""
        if not self._trackflow_is_wanted(event):
            return
        pending = self.env.cr.precommit.data.setdefault(_PENDING, {})
        if not pending:
            self.env.cr.precommit.add(self.env["link.tracker"]._trackflow_tell_pending)
        for link_id in self.ids:
            # A link that is new is told as new, however often it was written since.
            if event != LINK_CHANGED or pending.get(link_id) != LINK_CREATED:
                pending[link_id] = event

    @api.model
    def _trackflow_tell_pending(self):
        pending = self.env.cr.precommit.data.pop(_PENDING, {})
        self.browse(pending).exists()._trackflow_tell(pending)

    def _trackflow_tell(self, events):
        """Put one message for each of these links and each endpoint into the outbox."""
        links, outbox = self.sudo(), OdooOutbox(self.env)
        wanted = outbox.subscriptions()
        outbox.post(
            [
                message
                for record, told in Links(links.env).told(links)
                for message in of_record(
                    wanted, events[record.id], told.id, partial(shapes.link_told, told)
                )
            ]
        )

    @api.model
    def _trackflow_is_wanted(self, event):
        return any(event in one.events for one in OdooOutbox(self.env).subscriptions())
