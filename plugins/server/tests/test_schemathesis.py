"""schemathesis finds nothing: a running server does what its openapi.json says, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS

from trackflow_core.api import keys
from trackflow_server.store.catalog import SqlCatalog

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
# A schema cannot say all that makes a value right: a template's braces, or who owns a reference.
_LEFT_OUT = {"positive_data_acceptance"}
_CHECKED = [check for check in CHECKS.get_all() if check.__name__ not in _LEFT_OUT]


@pytest.fixture(scope="module")
def described(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("described")
    with serving(folder, api_hourly_limit="0") as served:
        issued = keys.issue("schemathesis", [*keys.SCOPES, keys.EDGE], datetime.now(timezone.utc))
        with served.database.transaction() as store:
            SqlCatalog(store, "", ()).create([issued.key])
        served.token = issued.token
        yield served


def test_the_server_keeps_to_its_description(described: Any) -> None:
    base = f"{described.url}/trackflow/api/v1"
    document = described.get("/trackflow/api/v1/openapi.json").json()
    headers = {"Authorization": f"Bearer {described.token}"}
    schema = schemathesis.openapi.from_dict(document)
    failures: list[str] = []
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=4,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=base, headers=headers, checks=_CHECKED, timeout=30)

        # All are tried, so that one run tells all that is wrong.
        try:
            check()
        except Exception as error:
            failures.append(f"{operation.label}: {error}")
    assert not failures, "\n\n".join(failures) + described.log.read_text()[-2000:]
