from datetime import datetime, timedelta, timezone
from itertools import pairwise

from odoo import api, fields, models
from odoo.fields import Domain

from trackflow_core.attribution.fits import no_progress

from ..demo.story import Story
from ..engine import build_engine

# code: title, campaign, medium, source
LINKS = {
    "SprAdwd": ("Spring offer: search ad", "spring", "cpc", "google"),
    "SprRetg": ("Spring offer: banner", "spring", "banner", "google"),
    "SprFace": ("Spring story", "spring", "social", "facebook"),
    "SprInst": ("Spring reel", "spring", "social", "instagram"),
    "SprLink": ("Spring case study", "spring", "social", "linkedin"),
    "NwsMar2": ("Newsletter: new season", "newsletter", "email", "newsletter"),
    "NwsApr2": ("Newsletter: customer story", "newsletter", "email", "newsletter"),
    "NwsMay2": ("Newsletter: invitation", "newsletter", "email", "newsletter"),
    "FaiStnd": ("Fair: poster at the stand", "fair", "print", "fair_stand"),
    "FaiBroc": ("Fair: brochure", "fair", "print", "brochure"),
    "FaiSpkr": ("Fair: talk", "fair", "print", "fair_stand"),
    "PrtBlog": ("Partner's review", "spring", "referral", "partner_blog"),
}
DESTINATION = "/contactus"


class TrackflowDemo(models.AbstractModel):
    """Tells the demo's story to the engine; called once, when demo data is loaded."""

    _name = "trackflow.demo"
    _description = "TrackFlow Demo Story"

    @api.model
    def _load(self):
        # What comes in by a form is a lead first, as in the story.
        self.env["crm.team"].search([("use_leads", "=", False)]).use_leads = True
        links = self._create_links()
        engine = build_engine(self.env)
        currency = self.env.company.currency_id
        story = Story(
            datetime.now(timezone.utc),
            self.env["link.tracker"].get_base_url(),
            {link.code: link.redirected_url for link in links},
            currency.name,
            currency.decimal_places,
        )
        for click in story.clicks:
            engine.record_click(click)
        engine.record_events(story.views)
        while engine.process_clicks().claimed:
            continue
        engine.apply(leads=story.leads)
        for deal in story.deals:
            engine.apply_deal(deal)
        self._hand_to_salesperson()
        self._learn()

    @api.model
    def _create_links(self):
        base_url = self.env["link.tracker"].get_base_url()
        links = self.env["link.tracker"]
        for code, (title, campaign, medium, source) in LINKS.items():
            link = links.create(
                {
                    "title": title,
                    "label": title,
                    "url": base_url + DESTINATION,
                    "campaign_id": self._record("campaign", campaign).id,
                    "medium_id": self._record("medium", medium).id,
                    "source_id": self._record("source", source).id,
                }
            )
            # Odoo makes a code of its own while it creates a link.
            link.code = code
            links += link
        return links

    @api.model
    def _record(self, kind, name):
        """The demo's own UTM record of that name, or Odoo's."""
        return self.env.ref(
            f"trackflow.utm_{kind}_{name}_demo", raise_if_not_found=False
        ) or self.env.ref(f"utm.utm_{kind}_{name}")

    @api.model
    def _hand_to_salesperson(self):
        leads = self.env["crm.lead"].with_context(active_test=False)
        told = leads.search(
            [
                "|",
                ("trackflow_lead_ref", "=like", "demo/%"),
                ("trackflow_deal_ref", "=like", "demo/%"),
            ]
        )
        told.user_id = self.env.ref("base.user_admin")
        # A salesperson without any right in TrackFlow has some of them too.
        told[::3].user_id = self.env.ref("base.user_demo")
        stages = self.env["crm.stage"].search([("is_won", "=", False)], order="sequence")
        pending = told.filtered(
            lambda lead: lead.type == "opportunity" and lead.won_status == "pending"
        )
        for number, lead in enumerate(pending):
            lead.stage_id = stages[number % len(stages)]
        # Contacts are engaged by what their leads' visitors did of late.
        told._handle_partner_assignment(create_missing=True)
        self._back_date_stages(told.filtered(lambda lead: lead.type == "opportunity"))

    @api.model
    def _back_date_stages(self, deals):
        """Let each deal have come through the stages before its own in the time since it began."""
        stages = self.env["crm.stage"].search(Domain.TRUE, order="sequence")
        changes = self.env["trackflow.deal.stage.change"]
        changes.search([("lead_id", "in", deals.ids)]).unlink()
        rows = []
        for deal in deals:
            began = deal.trackflow_deal_date
            until = deal.trackflow_closed_date or fields.Datetime.now()
            passed = stages.filtered(lambda stage, own=deal.stage_id: stage.sequence < own.sequence)
            way = passed + deal.stage_id
            # A deal is won as it enters the last stage; any other has spent its time there too.
            step = (until - began) / (len(way) - (deal.won_status == "won") or 1)
            for number, (left, entered) in enumerate(pairwise(way), start=1):
                rows.append(
                    {
                        "lead_id": deal.id,
                        "from_stage_id": left.id,
                        "to_stage_id": entered.id,
                        "change_date": began + number * step,
                        "changed_by": deal.user_id.id,
                        "days_in_stage": step / timedelta(days=1),
                    }
                )
            deal.date_last_stage_update = began + (len(way) - 1) * step
        changes.create(rows)

    @api.model
    def _learn(self):
        """A model that has learned from the story, where the plugin that brings it is installed."""
        plugins = self.env["trackflow.plugin"].with_context(active_test=False)
        plugins._synchronise()
        plugin = plugins.search([("name", "=", "data_driven"), ("installed", "=", True)])
        if not plugin:
            return
        plugin.active = True
        model = self.env["trackflow.attribution.model"].create(
            {
                "name": "Markov Chain",
                "description": "A channel earns by the deals that would be lost without it, as "
                "learned from all journeys. With few deals the split stays close to Position Based.",
                "sequence": 60,
                "rule": "markov",
            }
        )
        model._fit(no_progress)
        model.fit_state = "done"
