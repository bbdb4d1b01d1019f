"""Contract kits, fakes and golden scenarios for authors of stores, connectors and plugins.

The kits are mixins of plain `test_*` methods, so that they run under pytest and unittest alike.
"""

from trackflow_core.testing.api import ApiContract
from trackflow_core.testing.attribution import AttributionModelContract
from trackflow_core.testing.catalog_memory import MemoryCatalog
from trackflow_core.testing.catalogs import CatalogContract
from trackflow_core.testing.classifiers import ClassifierContract
from trackflow_core.testing.connectors import (
    ConnectorContract,
    InvalidSample,
    Sample,
    WebhookConnectorContract,
)
from trackflow_core.testing.fake import FakeConnector, FakeCrm
from trackflow_core.testing.memory import MemoryStore
from trackflow_core.testing.outbox_memory import MemoryOutbox
from trackflow_core.testing.outboxes import OutboxContract
from trackflow_core.testing.remotes import Remote, RemoteContract
from trackflow_core.testing.scenarios import SCENARIOS, Scenario
from trackflow_core.testing.stores import HostedStore, ScenarioContract, StoreContract

__all__ = [
    "SCENARIOS",
    "ApiContract",
    "AttributionModelContract",
    "CatalogContract",
    "ClassifierContract",
    "ConnectorContract",
    "FakeConnector",
    "FakeCrm",
    "HostedStore",
    "InvalidSample",
    "MemoryCatalog",
    "MemoryOutbox",
    "MemoryStore",
    "OutboxContract",
    "Remote",
    "RemoteContract",
    "Sample",
    "Scenario",
    "ScenarioContract",
    "StoreContract",
    "WebhookConnectorContract",
]
