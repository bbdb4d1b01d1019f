"""The guide for senders works as printed: its script signs, its lists are complete."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import pytest

from trackflow_core.model import Deal, DealStatus
from trackflow_core.ports import IncomingRequest
from trackflow_webhook import GenericWebhook, preview
from trackflow_webhook.payload import TYPES
from trackflow_webhook.presets import SCHEMES
from trackflow_webhook.verification import KINDS

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "webhooks.md").read_text(encoding="utf-8")
SENDERS = GUIDE.split("## Any other sender")[1]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

# Prints what it would send: each argument in base64, a line each.
CURL = """curl() { for argument in "$@"; do printf %s "$argument" | base64 -w0; echo; done; }\n"""


def block(language: str) -> str:
    """The first block of that language in the guide."""
    return GUIDE.split(f"```{language}\n")[1].split("```")[0]


@pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "openssl", "od", "base64"))),
    reason="needs bash, openssl, od and base64",
)
def test_the_script_signs_what_is_accepted() -> None:
    script = CURL + block("bash")
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    arguments = [base64.b64decode(line).decode() for line in done.stdout.splitlines()]
    headers = dict(
        value.split(": ", 1) for option, value in pairwise(arguments) if option == "--header"
    )
    body = arguments[arguments.index("--data-binary") + 1].encode()
    connector = GenericWebhook()
    now = datetime.now(timezone.utc)
    delivery = connector.verify(IncomingRequest(body, headers), [SECRET], now)
    [deal] = connector.map_events(delivery.payload, "webhook/shop")
    assert isinstance(deal, Deal)
    assert (deal.value, deal.status) == (25_000, DealStatus.WON)


def test_the_payload_in_the_guide_is_valid() -> None:
    payload = {**json.loads(block("json")), "webhook_id": "msg_1"}
    assert GenericWebhook().map_events(payload, "webhook/shop")


def test_the_python_in_the_guide_runs() -> None:
    names: dict[str, object] = {}
    exec(block("python"), names)  # noqa: S102 - our own page
    body, headers = names["body"], names["headers"]
    assert isinstance(body, str) and isinstance(headers, dict)
    request = IncomingRequest(body.encode(), headers)
    assert GenericWebhook().verify(request, [SECRET], datetime.now(timezone.utc))


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_described(kind: str) -> None:
    assert f"`{kind}`" in GUIDE


@pytest.mark.parametrize(
    "field",
    "id created_at name contact_name email phone company visitor_token visitor_cookie "
    "lead_id value currency closed_at".split(),
)
def test_every_field_is_described(field: str) -> None:
    assert f"\n| `{field}` |" in GUIDE


def test_it_names_every_sender_and_scheme() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", SENDERS, re.MULTILINE)) == SCHEMES.keys() - {
        "trackflow",
        "custom",
    }
    proofs = re.findall(r"^`(\w+)`(?:, `(\w+)`)?\n:", SENDERS, re.MULTILINE)
    assert {name for pair in proofs for name in pair if name} == set(KINDS)


def test_its_mapping_works() -> None:
    [mapping] = re.findall(r"```ini\n(.*?)```", SENDERS, re.DOTALL)
    order = {
        "kind": "order",
        "number": 7,
        "user": 1,
        "at": 1772366400,
        "total": 5,
        "currency": "EUR",
    }
    found = preview(mapping, {"events": [{"kind": "signup", "user": 1, "at": 1772366400}, order]})
    assert (len(found.events), found.problems) == (2, [])
