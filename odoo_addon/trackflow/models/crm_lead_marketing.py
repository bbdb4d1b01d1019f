import logging
from datetime import timezone

from odoo import api, fields, models

from trackflow_core.attribution import attribute
from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.errors import ConfigError
from trackflow_core.model import DealStatus

from ..store import OdooStore
from .trackflow_journey import utc_text

_logger = logging.getLogger(__name__)


class CrmLead(models.Model):
    """What the *Marketing* tab and the kanban card show of a lead's journey."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    trackflow_first_channel = fields.Char(
        "First Touch Channel",
        readonly=True,
        copy=False,
        help="The channel that the first touch before the lead came through.",
    )
    trackflow_last_channel = fields.Char(
        "Last Touch Channel",
        readonly=True,
        copy=False,
        help="The channel that the last touch before the lead came through.",
    )
    trackflow_credit_count = fields.Integer("Credits", compute="_compute_trackflow_credit_count")

    @api.depends("trackflow_attribution_ids")
    def _compute_trackflow_credit_count(self):
        counted = self.env["trackflow.deal.attribution"]._read_group(
            [("lead_id", "in", self.ids), ("touch_at", "!=", False)], ["lead_id"], ["__count"]
        )
        numbers = {lead.id: count for lead, count in counted}
        for lead in self:
            lead.trackflow_credit_count = numbers.get(lead.id, 0)

    def action_trackflow_credits(self):
        """The credits of this deal."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.trackflow_deal_attribution_action"
        )
        # One deal's credits stand open, where those of all are folded by deal.
        plain = self.env.ref("trackflow.trackflow_deal_attribution_view_list").id
        views = [(plain if kind == "list" else view, kind) for view, kind in action["views"]]
        return {**action, "views": views, "domain": [("lead_id", "=", self.id)], "context": {}}

    def action_trackflow_clicks(self):
        """The clicks of this record's visitors, for whoever may read the record."""
        self.ensure_one()
        self.check_access("read")
        visitors = (self | self.trackflow_origin_id).sudo().trackflow_visitor_ids
        clicks = visitors.click_ids
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.link_tracker_click_action"
        )
        return {**action, "domain": [("id", "in", clicks.ids)], "context": {}}

    @api.readonly
    def trackflow_marketing_data(self):
        """Journey and credits of one lead or opportunity, for whoever may read it."""
        self.ensure_one()
        self.check_access("read")
        record = self.sudo()
        store = OdooStore(record.env)
        [(_id, lead, deal)] = store.records(record.ids)
        ref = deal.lead_ref if deal else lead.ref
        lead = next(iter(store.leads([ref])), lead)
        others = store.account_leads([ref]).get(ref, ()) if record._trackflow_has_accounts() else ()
        of_leads = store.touches([ref, *others])
        touches = sorted(
            {touch.id: touch for own in of_leads.values() for touch in own}.values(),
            key=lambda touch: touch.order_key,
        )
        visitors = (record | record.trackflow_origin_id).trackflow_visitor_ids
        clicks = record._trackflow_clicks_of(touches)
        journey = record._trackflow_visits(touches, clicks)
        compared = record._trackflow_models_data(deal, lead, touches, clicks) if deal else []
        # Readers of a lead need not be allowed to read visitors; a link must not lead nowhere.
        may_open = self.env["trackflow.visitor"].has_access("read")
        return {
            "sentence": record._trackflow_sentence(journey, lead, deal),
            "timeline": record._trackflow_timeline(journey, lead, deal),
            "models": compared,
            "value": _amount(deal.value, deal.digits) if deal else 0.0,
            "currency_id": record._trackflow_company().currency_id.id,
            "visitors": [
                {"id": visitor.id if may_open else False, "name": visitor.name}
                for visitor in visitors
            ],
            "account_journey": bool(others),
            "unattributed_clicks": record._trackflow_uncredited(visitors, compared, touches),
            "empty_reason": False if touches else record._trackflow_empty_reason(visitors),
        }

    def _trackflow_company(self):
        """The company whose window and default model split this deal."""
        return (
            self.company_id
            or self.user_id.company_id
            or self.create_uid.company_id
            or self.env.company
        )

    def _trackflow_clicks_of(self, touches):
        """The click events behind `touches`, by the id that both share."""
        found = self.env["link.tracker.click"].search(
            [("trackflow_event_id", "in", [touch.id for touch in touches])]
        )
        return {click.trackflow_event_id: click for click in found}

    def _trackflow_uncredited(self, visitors, compared, touches):
        """How many clicks of these visitors earn nothing: outside the window, or no person's."""
        clicks = self.env["link.tracker.click"].search_count(
            [("trackflow_visitor_id", "in", visitors.ids)]
        )
        credited = len(touches)
        if compared:
            credited = sum(1 for credit in compared[0]["credits"] if credit["at"])
        return max(clicks - credited, 0)

    def _trackflow_empty_reason(self, visitors):
        if visitors:
            return self.env._(
                "This person's visits have been recorded, but none of their clicks counts: "
                "clicks of bots, link previews and colleagues are left out."
            )
        if any((self | self.trackflow_origin_id).mapped("trackflow_lead_ref")):
            return self.env._(
                "No visit is linked to this record: the system that sent it did not say who the "
                "visitor was. It can pass the visitor token of your form (visitor_token) or "
                "TrackFlow's cookie (visitor_cookie) along with the lead."
            )
        return self.env._(
            "No visit is linked to this record yet. TrackFlow shows here where the person came "
            "from, as soon as somebody who clicked a tracked link sends a form on your website."
        )

    # -- journey ---------------------------------------------------------------------------

    def _trackflow_visits(self, touches, clicks):
        """The touches folded into visits, oldest first; each with all that was done in it."""
        sessions = {
            event.event_id: event.session_id.id
            for event in self.env["trackflow.event"].search(
                [("event_id", "in", [touch.id for touch in touches if touch.kind == "visit"])]
            )
        }
        visits = {}
        for touch in touches:
            click = clicks.get(touch.id, self.env["link.tracker.click"])
            session = click.trackflow_session_id.id or sessions.get(touch.id)
            key = f"session-{session}" if session else f"touch-{touch.id}"
            visit = visits.setdefault(
                key, {"id": key, "session": session, "touch": touch, "click": click}
            )
            visit["at"] = touch.occurred_at
        steps = self.env["trackflow.journey"]._steps(
            [visit["session"] for visit in visits.values() if visit["session"]]
        )
        for visit in visits.values():
            visit["steps"] = steps[visit["session"]] if visit["session"] else []
        return list(visits.values())

    @api.model
    def _trackflow_title(self, click, touch):
        title = self.env["trackflow.journey"]._title(click)
        return title or touch.campaign or touch.source or touch.channel

    @api.model
    def _trackflow_campaign_of(self, click, touch):
        """The touch's campaign as a person knows it, with its record where there is one."""
        campaign = click.campaign_id
        if campaign:
            return {"id": campaign.id, "name": campaign.title}
        return {"id": False, "name": touch.campaign} if touch.campaign else False

    def _trackflow_timeline(self, journey, lead, deal):
        """Visits, contacts and milestones as entries, newest first."""
        timeline = self.env["trackflow.journey"]
        # What came later earned nothing of this record, and is not in its field First Touch.
        until = deal.began_at if deal else lead.came_in_at
        entries = []
        for visit in journey:
            touch, click, steps = visit["touch"], visit["click"], visit["steps"]
            kind, label = "visit", self.env._("Clicked")
            title = self._trackflow_title(click, touch)
            if not click and touch.kind == "visit" and steps:
                label, title = steps[0]["label"], steps[0]["title"]
            elif not click and touch.kind != "visit":
                kind, label = "contact", timeline._contact_label(touch.kind)
                title = touch.campaign or ""
            entries.append(
                timeline._entry(
                    visit["id"],
                    visit["at"],
                    kind,
                    label=label,
                    title=title,
                    channel=touch.channel,
                    campaign=self._trackflow_campaign_of(click, touch),
                    source=touch.source,
                    medium=touch.medium,
                    device=click.trackflow_device or "",
                    session=visit["session"],
                    steps=steps,
                    milestones=(
                        ["first_touch"] if not entries and touch.occurred_at <= until else []
                    ),
                )
            )
        moments = [(lead.came_in_at, "lead", False)]
        if deal:
            moments.append((deal.began_at, "deal", False))
            if deal.closed_at:
                moments.append((deal.closed_at, deal.status.value, False))
        return timeline._sorted(entries + timeline._milestones(moments))

    # -- the sentence ----------------------------------------------------------------------

    def _trackflow_sentence(self, journey, lead, deal):
        """Where the person came from and what followed, in words."""
        if not journey:
            return ""
        first, last = journey[0], journey[-1]
        came = {
            "when": self._trackflow_ago(first["touch"].occurred_at),
            "origin": self._trackflow_origin(first),
        }
        in_touch = self._trackflow_ago(lead.came_in_at)
        returns = len(journey) - 1
        by_click = first["touch"].occurred_at <= lead.came_in_at
        if by_click:
            parts = [self.env._("First came %(when)s through %(origin)s", **came)]
        else:
            parts = [
                self.env._("Got in touch %s", in_touch),
                self.env._("then came %(when)s through %(origin)s", **came),
            ]
        if returns == 1:
            parts.append(self.env._("returned once through %s", self._trackflow_origin(last)))
        elif returns:
            parts.append(
                self.env._(
                    "returned %(count)s times, last through %(origin)s",
                    count=returns,
                    origin=self._trackflow_origin(last),
                )
            )
        if by_click:
            parts.append(self.env._("got in touch %s", in_touch))
        sentence = ", ".join(parts) + "."
        if not deal or not deal.closed_at:
            return sentence
        when = self._trackflow_ago(deal.closed_at)
        if deal.status is DealStatus.WON:
            return sentence + " " + self.env._("The deal was won %s.", when)
        return sentence + " " + self.env._("The deal was lost %s.", when)

    def _trackflow_origin(self, visit):
        touch = visit["touch"]
        campaign = self._trackflow_campaign_of(visit["click"], touch)
        details = ", ".join(filter(None, (touch.source, campaign and campaign["name"])))
        return f"{touch.channel} ({details})" if details else touch.channel

    def _trackflow_ago(self, moment):
        """How long ago in the reader's days."""
        today = fields.Date.context_today(self)
        naive = moment.astimezone(timezone.utc).replace(tzinfo=None)
        day = fields.Datetime.context_timestamp(self, naive).date()
        days = (today - day).days
        if days <= 0:
            return self.env._("today")
        if days == 1:
            return self.env._("yesterday")
        return self.env._("%s days ago", days)

    # -- credits ---------------------------------------------------------------------------

    def _trackflow_models_data(self, deal, lead, touches, clicks):
        """The deal split by every active model, the one that its ledger uses first."""
        company = self._trackflow_company()
        chosen = self.trackflow_attribution_model_id or company.trackflow_attribution_model_id
        available = self.env["trackflow.attribution.model"].search(
            [("company_id", "in", (False, company.id))]
        )
        split = []
        for model in chosen | available:
            try:
                attribution = attribute(
                    touches,
                    deal,
                    self._trackflow_core_model(model, company),
                    lead_created_at=lead.came_in_at,
                )
            except ConfigError as error:
                _logger.warning("%s It is left out of the comparison.", error)
                continue
            split.append(
                {
                    "id": model.id,
                    "name": model.name,
                    "rule": dict(model._fields["rule"]._description_selection(self.env)).get(
                        model.rule, model.rule
                    ),
                    "is_default": model == chosen,
                    "credits": [
                        self._trackflow_credit(credit, clicks, deal.digits)
                        for credit in attribution.credits
                    ],
                    "receipt": attribution.explain(),
                    "digest": attribution.digest,
                }
            )
        return split

    def _trackflow_core_model(self, model, company):
        """`model` as it split the deal: what it learned since has not done so yet."""
        held = self.sudo().trackflow_attribution_ids[:1]
        version = held.fit_version if held.attribution_model_id == model else None
        return model._core_model(company.trackflow_window_days, version if model.learns else None)

    @api.model
    def _trackflow_credit(self, credit, clicks, digits):
        touch = credit.touch
        click = clicks.get(touch.id) if touch else None
        click = click or self.env["link.tracker.click"]
        campaign = (touch and self._trackflow_campaign_of(click, touch)) or {
            "id": False,
            "name": "",
        }
        return {
            "channel": credit.channel,
            "title": self._trackflow_title(click, touch) if touch else "",
            "campaign": campaign["name"],
            "campaign_id": campaign["id"],
            "source": touch.source if touch else "",
            "medium": touch.medium if touch else "",
            "at": utc_text(touch.occurred_at) if touch else False,
            "weight": credit.weight,
            "value": _amount(credit.value, digits),
            "position": credit.position,
        }


def _amount(value, digits):
    """Minor units as the number that Odoo's monetary formatter takes."""
    return float(from_minor_units(value, digits))
