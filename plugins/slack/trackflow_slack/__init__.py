"""Tells the Slack channel behind TRACKFLOW_SLACK_URL of won deals and of failed write-backs.

Protocol: Slack's incoming webhooks, which Mattermost and Rocket.Chat understand too.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

from trackflow_core.attribution import Attribution
from trackflow_core.hooks import hookimpl
from trackflow_core.model import Context, Message
from trackflow_slack.channel import Channel
from trackflow_slack.text import of_deal, of_failure

URL = "TRACKFLOW_SLACK_URL"
MEMORY = "TRACKFLOW_SLACK_MEMORY"

_NEWS = timedelta(days=1)
_channel = Channel()


@hookimpl
def trackflow_after_deal_attributed(attribution: Attribution, ctx: Context) -> None:
    """Tell of a deal that was won within the last day and has touches, once."""
    url, deal = os.environ.get(URL), attribution.deal
    now = datetime.now(timezone.utc)
    if not url or deal.won_at is None or now - deal.won_at > _NEWS:
        return
    if any(credit.touch for credit in attribution.credits):
        key = f"{ctx.host}/{ctx.tenant}/{deal.ref}"
        _channel.tell(url, of_deal(attribution), os.environ.get(MEMORY, ""), key)


@hookimpl
def trackflow_on_writeback_error(message: Message, reason: str, final: bool, ctx: Context) -> None:
    """Tell of a write-back that TrackFlow has given up."""
    url = os.environ.get(URL)
    if url and final:
        key = f"{ctx.host}/{ctx.tenant}/{message.id}"
        _channel.tell(url, of_failure(message, reason), os.environ.get(MEMORY, ""), key)
