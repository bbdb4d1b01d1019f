from collections import defaultdict
from datetime import timezone
from urllib.parse import urlsplit

from odoo import api, models
from odoo.fields import Domain

from trackflow_core.model import PAGE_VIEW

# Milestones this close together are one moment to a reader.
SAME_MOMENT = 60
_STEPS = 500


class TrackflowJourney(models.AbstractModel):
    """How visits, contacts and milestones read as entries of one timeline, newest first."""

    _name = "trackflow.journey"
    _description = "TrackFlow Journey"

    @api.model
    def _entry(self, key, moment, kind, **changes):
        """One row of the timeline; `at` is ISO 8601 in UTC."""
        return {
            "id": key,
            "at": utc_text(moment),
            "kind": kind,
            "label": "",
            "title": "",
            "channel": "",
            "campaign": False,
            "source": "",
            "medium": "",
            "device": "",
            "session": False,
            "record": False,
            "steps": [],
            "milestones": [],
            **changes,
        }

    @api.model
    def _steps(self, session_ids):
        """What was clicked, viewed and done in these visits, by visit and in order."""
        steps = defaultdict(list)
        # Reading past a limit would only lengthen a page that nobody scrolls.
        clicks = self.env["link.tracker.click"].search(
            Domain("trackflow_session_id", "in", session_ids)
            & Domain("trackflow_counts", "=", True),
            order="trackflow_occurred_at desc",
            limit=_STEPS,
        )
        for click in clicks:
            steps[click.trackflow_session_id.id].append(
                self._step(click.trackflow_occurred_at, self.env._("Clicked"), self._title(click))
            )
        events = self.env["trackflow.event"].search(
            Domain("session_id", "in", session_ids) & Domain("counts", "=", True),
            order="timestamp desc",
            limit=_STEPS,
        )
        for event in events:
            steps[event.session_id.id].append(
                self._step(event.timestamp, self._event_label(event), page_of(event.page_url))
            )
        for own in steps.values():
            own.sort(key=lambda step: step["at"])
        return steps

    @api.model
    def _step(self, moment, label, title):
        return {"at": utc_text(moment), "label": label, "title": title}

    @api.model
    def _event_label(self, event):
        if event.event_type == PAGE_VIEW:
            return self.env._("Viewed")
        return event.event_type.replace("_", " ").capitalize()

    @api.model
    def _title(self, click):
        """A clicked link as a person knows it."""
        link = click.link_id
        title = link.title if link.title != link.url else False
        return title or link.label or link.url or ""

    @api.model
    def _milestones(self, moments):
        """Entries of one record's (moment, milestone, record), the close ones together."""
        entries, last = [], None
        for moment, milestone, record in moments:
            if last and abs((moment - last).total_seconds()) < SAME_MOMENT:
                entries[-1]["milestones"].append(milestone)
                entries[-1]["kind"] = milestone
                continue
            last = moment
            entries.append(
                self._entry(
                    f"milestone-{milestone}-{record['id'] if record else 0}",
                    moment,
                    milestone,
                    milestones=[milestone],
                    record=record,
                )
            )
        return entries

    @api.model
    def _contact_label(self, kind):
        """What somebody of ours did, or heard from the person, by the kind of the touch."""
        return {
            "call": self.env._("Called"),
            "meeting": self.env._("Met"),
            "event": self.env._("Met at an event"),
            "referral": self.env._("Was referred"),
        }.get(kind) or kind.capitalize()

    @api.model
    def _sorted(self, entries):
        # A form is sent at the end of the visit that led to it: at equal times the milestone is
        # last.
        return sorted(
            entries, key=lambda entry: (entry["at"], bool(entry["milestones"])), reverse=True
        )


def utc_text(moment):
    """A moment, naive ones being UTC, as ISO 8601."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")


def page_of(url):
    """The path of a page, which says more to a reader than its query."""
    return urlsplit(url or "").path or url or ""
