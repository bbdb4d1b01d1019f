"""schemathesis finds nothing: the API does what openapi.json says of it, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS

from tests.api.host import MemoryHost, Server
from trackflow_core.api import keys, openapi
from trackflow_core.api.app import ApiSettings
from trackflow_core.api.routes import routes
from trackflow_core.hooks import ApiRoute

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]
# A schema cannot say all that makes a value right: a template's braces, or who owns a reference.
_LEFT_OUT = {"positive_data_acceptance"}
_CHECKED = [check for check in CHECKS.get_all() if check.__name__ not in _LEFT_OUT]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    served = Server(MemoryHost(), ApiSettings(hourly_limit=0, public_hourly_limit=0))
    yield served
    served.close()


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    made = keys.issue("schemathesis", keys.SCOPES, datetime.now(timezone.utc))
    server.host.catalog.create([made.key])
    return made.token


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.name)
def test_the_api_keeps_to_its_description(route: ApiRoute, server: Server, token: str) -> None:
    document = dict(openapi.document(routes(), server.url))
    schema = schemathesis.openapi.from_dict(document)
    operation = schema[route.path][route.method]
    headers = {"Authorization": f"Bearer {token}"}

    @settings(
        max_examples=12,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(
            base_url=f"{server.url}/trackflow/api/v1", headers=headers, checks=_CHECKED
        )

    check()
