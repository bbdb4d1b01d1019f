"""Reading Odoo's log, and what counts as broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment.failure import SetupError
from tests.environment.odoo_suites import (
    Outcome,
    Selection,
    complaints,
    deliberate,
    falls_silent,
    last_started,
    outcome_of,
    tags_of,
)

_LOG = """\
2026-01-01 10:00:00,000 7 INFO db odoo.addons.utm.tests.test_utm: Starting TestUtm.test_good ...
2026-01-01 10:00:00,000 7 INFO db odoo.addons.utm.tests.test_utm: Starting TestUtm.test_bad ...
2026-01-01 10:00:00,000 7 ERROR db odoo.addons.utm.tests.test_utm: FAIL: TestUtm.test_bad
Traceback (most recent call last):
2026-01-01 10:00:00,000 7 INFO db odoo.addons.crm.tests.test_lead: Starting TestLead.test_parts ...
2026-01-01 10:00:00,000 7 ERROR db odoo.addons.crm.tests.test_lead: FAIL: Subtest TestLead.test_parts (x=1)
2026-01-01 10:00:00,000 7 INFO db odoo.addons.crm.tests.test_lead: Starting TestLead.test_tour ...
2026-01-01 10:00:00,000 7 INFO db odoo.addons.crm.tests.test_lead: skipped TestLead.test_tour : Chrome
2026-01-01 10:00:00,000 7 ERROR db odoo.tests.suite: ERROR: setUpClass (odoo.addons.crm.tests.test_ui.TestUi)
"""


def _outcome(
    passed: set[str],
    failed: frozenset[str] = frozenset(),
    skipped: frozenset[str] = frozenset(),
) -> Outcome:
    return Outcome(passed=frozenset(passed), failed=failed, skipped=skipped)


def test_the_log_tells_what_passed_failed_and_was_skipped() -> None:
    assert outcome_of(_LOG.splitlines()) == Outcome(
        passed=frozenset({"utm/test_utm/TestUtm.test_good"}),
        failed=frozenset(
            {
                "utm/test_utm/TestUtm.test_bad",
                "crm/test_lead/TestLead.test_parts",
                "crm/test_ui/TestUi.setUpClass",
            }
        ),
        skipped=frozenset({"crm/test_lead/TestLead.test_tour"}),
    )


def test_only_what_passes_alone_must_pass() -> None:
    alone = _outcome({"a", "b", "c"}, failed=frozenset({"d"}))
    ours = _outcome({"a"}, failed=frozenset({"b", "d"}))
    assert complaints(alone, ours, allowed=()) == [
        "b passes on Odoo alone and fails with our addons",
        "c passes on Odoo alone and does not run with our addons",
    ]


def test_a_deliberate_change_is_allowed_until_it_passes() -> None:
    alone = _outcome({"a", "b"})
    assert complaints(alone, _outcome({"a"}), allowed={"b": "why"}) == []
    assert complaints(alone, _outcome({"a", "b"}), allowed={"b": "why"}) == [
        "b is listed in deliberate.txt but passes"
    ]


def test_a_deliberate_change_needs_a_reason() -> None:
    assert deliberate("# note\n\nutm/test_utm/T.test_x: codes are longer\n") == {
        "utm/test_utm/T.test_x": "codes are longer"
    }
    with pytest.raises(SetupError, match="line 2 gives no reason"):
        deliberate("a/b/C.d: because\na/b/C.e:\n")


def test_tags_choose_among_the_tests_of_suites() -> None:
    whole = Selection(("utm", "crm"))
    assert whole.test_tags == "/utm,/crm"
    without = Selection(("website",), ("-/website:TestUi",))
    assert without.test_tags == "/website,-/website:TestUi"
    named = Selection(("website",), ("/website:TestPage", "-/website:TestPage.test_slow"))
    assert named.test_tags == "/website:TestPage,-/website:TestPage.test_slow"
    assert len({whole.label, without.label, named.label}) == 3


def test_what_passes_at_the_second_try_passes() -> None:
    first = _outcome({"a"}, failed=frozenset({"b", "c"}), skipped=frozenset({"d"}))
    second = _outcome({"b", "d"}, failed=frozenset({"c"}))
    assert first.or_else(second) == _outcome({"a", "b", "d"}, failed=frozenset({"c"}))


def test_tests_are_run_again_by_their_file_class_and_name() -> None:
    tests = {"website/test_ui/TestUi.test_tour", "crm/test_views/Crawler.setUpClass"}
    assert tags_of(tests) == (
        "/crm/tests/test_views.py:Crawler,/website/tests/test_ui.py:TestUi.test_tour"
    )


def test_the_test_that_hangs_is_the_last_one_begun() -> None:
    assert last_started(_LOG.splitlines()) == "crm/test_lead/TestLead.test_tour"
    assert last_started(["nothing of Odoo's"]) == ""


@pytest.mark.parametrize(
    ("script", "hangs"), [("import sys; sys.stdin.read()", True), ("print('done')", False)]
)
def test_a_run_that_writes_nothing_any_more_hangs(script: str, hangs: bool, tmp_path: Path) -> None:
    log = tmp_path / "odoo.log"
    with (
        log.open("w") as sink,
        subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=sink
        ) as process,
    ):
        # Far longer than Python takes to say a word, except where it never does.
        assert falls_silent(process, log, 0.5 if hangs else 60) is hangs
