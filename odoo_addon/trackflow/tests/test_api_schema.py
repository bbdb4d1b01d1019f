import unittest
from datetime import datetime, timezone

from odoo.addons.trackflow.catalog import OdooCatalog
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from trackflow_core.api import keys

from .test_api import ALL

try:
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import CHECKS
except ImportError:
    schemathesis = None

# A schema cannot say all that makes a value right: a template's braces, or who owns a reference.
LEFT_OUT = {"positive_data_acceptance"}
EXAMPLES = 2


@tagged("post_install", "-at_install", "slow")
@unittest.skipUnless(schemathesis, "needs schemathesis")
class TestApiSchema(HttpCase):
    """Odoo does what the API's description says, whatever is sent."""

    def test_odoo_keeps_to_the_description(self):
        user = new_test_user(self.env, login="tf_schema", groups=ALL)
        issued = keys.issue(
            "Test",
            [*keys.SCOPES, keys.EDGE],
            datetime.now(timezone.utc),
            hourly_limit=1_000_000,
        )
        OdooCatalog(self.env(user=user)).create([issued.key])
        self.env.flush_all()
        base = f"{self.base_url()}/trackflow/api/v1"
        checks = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]
        failures = []
        with self.allow_requests(), mute_logger("trackflow_core.api.app", "odoo.sql_db"):
            headers = {
                "Authorization": f"Bearer {issued.token}",
                "Cookie": f"test_request_key={self.http_request_key}",
            }
            schema = schemathesis.openapi.from_url(f"{base}/openapi.json", headers=headers)
            for found in schema.get_all_operations():
                operation = found.ok()

                @settings(
                    max_examples=EXAMPLES,
                    derandomize=True,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.as_strategy())
                def check(case):
                    case.call_and_validate(base_url=base, headers=headers, checks=checks)

                # All are tried, so that one run tells all that is wrong.
                try:
                    check()
                except Exception as error:
                    failures.append(f"{operation.label}: {error}")
                self._wait_remaining_requests()
        self.assertFalse(failures, "\n\n".join(failures))
