"""What the server counts, in the words of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import REGISTRY, Counter, Gauge, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

# Plain numbers, changed in the event loop alone: the library's own counters cost a lock each.
answers = {"redirected": 0, "gone": 0, "unknown": 0}
clicks = {"recorded": 0, "lost": 0}

WEBHOOKS = Counter("trackflow_webhooks", "Incoming webhooks.", ["connector", "outcome"])
SPOOLED = Gauge("trackflow_spooled_facts", "Facts in the spool that are not in the store yet.")
OUTBOX = Gauge("trackflow_outbox_messages", "Outgoing messages that are not sent.", ["state"])
SPOOL_ROOM = Gauge("trackflow_spool_room_bytes", "Bytes that the spool may still take.")
REJECTED = Gauge("trackflow_rejected_clicks", "Clicks that were set aside with a reason.")


class _Redirects(Collector):
    def collect(self) -> Iterable[Metric]:
        for name, help, counts in (
            ("trackflow_redirects", "Answers to short links.", answers),
            ("trackflow_clicks", "Clicks on links in use.", clicks),
        ):
            family = CounterMetricFamily(name, help, labels=["outcome"])
            for outcome, number in counts.items():
                family.add_metric([outcome], number)
            yield family


REGISTRY.register(_Redirects())
