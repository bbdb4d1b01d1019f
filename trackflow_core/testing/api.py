"""The behaviour of the REST API over real HTTP, the same for every host."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen
from uuid import uuid4

from trackflow_core import hooks
from trackflow_core.api.keys import SCOPES
from trackflow_core.api.messages import TITLES
from trackflow_core.attribution.receipts import check
from trackflow_core.errors import ConfigError
from trackflow_core.model import Click
from trackflow_core.testing.facts import BROWSER


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class ApiContract:
    """Mix into a test case over a running host and implement the abstract methods.

    Records of one test do not meet those of another: names are made anew in each.
    """

    currency = "EUR"
    """One that the host can keep deals and budgets in; it has two decimal places."""

    @property
    @abstractmethod
    def host_url(self) -> str:
        """Where the host answers, without a slash at the end."""

    @abstractmethod
    def new_key(self, scopes: Iterable[str] = SCOPES, **options: Any) -> str:
        """The token of a new key; `options` are those of `api.keys.issue`."""

    @abstractmethod
    def revoke(self, token: str) -> None:
        """Revoke the key of `token`."""

    @abstractmethod
    def visit(self, clicks: Iterable[Click]) -> None:
        """Let these clicks be recorded and processed."""

    # -- helpers --------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request. `body` is sent as JSON unless it is bytes; `token` "" sends none."""
        if token is None:
            token = self.token
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(  # noqa: S310 - the host under test
            f"{self.host_url}/trackflow/api/v1{path}",
            data=None if body is None else data,
            headers={**sent, **(headers or {})},
            method=method,
        )
        try:
            with urlopen(request, timeout=30) as answer:  # noqa: S310 - the host under test
                return Reply(answer.status, _lower(answer.headers), answer.read())
        except HTTPError as error:
            with error:
                return Reply(error.code, _lower(error.headers), error.read())

    @property
    def token(self) -> str:
        """A key with every scope, made once for each test."""
        if "_token" not in self.__dict__:
            self.__dict__["_token"] = self.new_key()
        return str(self.__dict__["_token"])

    def name(self, kind: str = "n") -> str:
        """A name that nothing else has."""
        return f"{kind}{uuid4().hex[:10]}"

    def make_link(self, **values: Any) -> dict[str, Any]:
        """A link, made by the API."""
        code = self.name("L")
        # Hosts may refuse two links that nothing but their codes tells apart.
        body = {"code": code, "destination": f"https://shop.example/{code}", **values}
        reply = self.send("POST", "/links", body)
        assert reply.status == 201, reply.body
        return dict(reply.json)

    def refused(self, reply: Reply, status: int, *words: str) -> dict[str, Any]:
        """The problem document of a refusal, after checking that it helps."""
        assert reply.status == status, (reply.status, reply.body)
        assert reply.headers["content-type"] == "application/problem+json"
        problem = dict(reply.json)
        assert problem["status"] == status
        assert problem["title"] and problem["detail"] and problem["remedy"], problem
        assert problem["title"] == TITLES[status]
        for fault in problem["errors"] if status == 422 else ():
            assert fault["field"] and fault["detail"] and fault["remedy"], problem
        for word in words:
            assert word in reply.body.decode(), (word, problem)
        return problem

    def click(self, link: Mapping[str, Any], visitor: str, **changes: Any) -> Click:
        """A person's click on `link`, a day ago."""
        values: dict[str, Any] = {
            "event_id": uuid4().hex,
            "occurred_at": _ago(days=1),
            "link_code": link["code"],
            "destination": link["destination"],
            "visitor_id": visitor,
            "user_agent": BROWSER,
        }
        return Click(**{**values, **changes})

    # -- keys -------------------------------------------------------------------------------------

    def test_without_a_key_nothing_is_told(self) -> None:
        for token in ("", "tf_nothing1_" + "x" * 43, "nonsense", self.token[:-1] + "!"):
            reply = self.send("GET", "/links", token=token)
            self.refused(reply, 401)
            assert reply.headers["www-authenticate"].startswith("Bearer")
        wrong = self.token[:-1] + ("a" if self.token[-1] != "a" else "b")
        self.refused(self.send("GET", "/links", token=wrong), 401)

    def test_scopes_are_per_resource_and_verb(self) -> None:
        reader = self.new_key(["links:read"])
        assert self.send("GET", "/links", token=reader).status == 200
        link = {"destination": "https://shop.example/"}
        self.refused(self.send("POST", "/links", link, token=reader), 403, "links:write")
        self.refused(self.send("GET", "/campaigns", token=reader), 403, "campaigns:read")
        writer = self.new_key(["links:write"])
        assert self.send("GET", "/links", token=writer).status == 200

    def test_a_key_that_could_do_nothing_is_not_made(self) -> None:
        try:
            self.new_key([])
        except ConfigError as error:
            assert all(told in str(error) for told in ("scopes", "[]", ":read")), error
        else:
            raise AssertionError("A key without a scope was made.")

    def test_keys_expire_and_are_revoked(self) -> None:
        old = self.new_key(expires_at=_ago(minutes=1))
        self.refused(self.send("GET", "/links", token=old), 401, "expired")
        key = self.new_key(expires_at=_ago(days=-1))
        assert self.send("GET", "/links", token=key).status == 200
        self.revoke(key)
        self.refused(self.send("GET", "/links", token=key), 401, "revoked")

    def test_keys_are_bound_to_networks(self) -> None:
        elsewhere = self.new_key(allowed=["203.0.113.0/24"])
        self.refused(self.send("GET", "/links", token=elsewhere), 403, "127.0.0.1")
        forged = {"X-Forwarded-For": "203.0.113.9"}
        self.refused(self.send("GET", "/links", token=elsewhere, headers=forged), 403)
        here = self.new_key(allowed=["203.0.113.0/24", "127.0.0.0/8"])
        assert self.send("GET", "/links", token=here).status == 200

    def test_a_key_has_so_many_requests(self) -> None:
        key = self.new_key(hourly_limit=3)
        left = []
        for _ in range(3):
            reply = self.send("GET", "/links", token=key)
            assert reply.status == 200
            assert reply.headers["ratelimit-policy"] == '"hour";q=3;w=3600'
            left.append(reply.headers["ratelimit"].split(";")[1])
        assert left == ["r=2", "r=1", "r=0"]
        reply = self.send("GET", "/links", token=key)
        self.refused(reply, 429, "3 requests")
        assert int(reply.headers["retry-after"]) > 0
        assert self.send("GET", "/links").status == 200

    # -- links ------------------------------------------------------------------------------------

    def test_a_link_is_made_read_changed_and_archived(self) -> None:
        code = self.name("L")
        body = {
            "code": code,
            "destination": "https://shop.example/a?b=%20c",
            "title": "Offer",
            "source": "newsletter",
            "medium": "email",
            "campaign": self.name("spring"),
        }
        made = self.send("POST", "/links", body)
        assert made.status == 201, made.body
        assert {key: made.json[key] for key in body} == body
        assert made.json["short_url"].endswith(f"/r/{code}")
        assert made.headers["location"] == f"/trackflow/api/v1/links/{code}"
        read = self.send("GET", f"/links/{code}")
        assert (read.status, read.json) == (200, made.json)
        assert read.headers["etag"] == made.headers["etag"]
        changed = self.send("PATCH", f"/links/{code}", {"title": "Better", "status": "paused"})
        assert changed.status == 200, changed.body
        assert (changed.json["title"], changed.json["status"]) == ("Better", "paused")
        assert changed.json["source"] == "newsletter"
        assert self.send("DELETE", f"/links/{code}").status == 204
        assert self.send("GET", f"/links/{code}").json["status"] == "archived"

    def test_a_code_is_chosen_and_never_taken_twice(self) -> None:
        made = self.send("POST", "/links", {"destination": "https://shop.example/"})
        assert len(made.json["code"]) >= 5
        body = {"code": made.json["code"], "destination": "https://other.example/"}
        taken = self.refused(self.send("POST", "/links", body), 409, "code", made.json["code"])
        assert taken["remedy"] == "Choose another."

    def test_two_editors_do_not_overwrite_each_other(self) -> None:
        link = self.make_link()
        path = f"/links/{link['code']}"
        etag = self.send("GET", path).headers["etag"]
        mine = self.send("PATCH", path, {"title": "Mine"}, headers={"If-Match": etag})
        assert mine.status == 200
        theirs = self.send("PATCH", path, {"title": "Theirs"}, headers={"If-Match": etag})
        self.refused(theirs, 412)
        assert theirs.headers["etag"] == mine.headers["etag"]
        assert self.send("DELETE", path, headers={"If-Match": etag}).status == 412
        assert self.send("GET", path).json["title"] == "Mine"

    def test_many_links_are_made_or_none(self) -> None:
        codes = [self.name("L") for _ in range(3)]
        links = [{"code": code, "destination": f"https://shop.example/{code}"} for code in codes]
        made = self.send("POST", "/links/bulk", {"links": links})
        assert made.status == 201, made.body
        assert [item["code"] for item in made.json["items"]] == codes
        fresh = self.name("L")
        some = [{**links[0], "code": fresh}, links[1]]
        self.refused(self.send("POST", "/links/bulk", {"links": some}), 409)
        self.refused(self.send("GET", f"/links/{fresh}"), 404)
        twice = [{**links[0], "code": fresh}] * 2
        self.refused(self.send("POST", "/links/bulk", {"links": twice}), 422, "links[0].code")

    def test_qr_codes_are_pictures(self) -> None:
        code = self.make_link()["code"]
        png = self.send("GET", f"/links/{code}/qr.png")
        assert (png.status, png.headers["content-type"]) == (200, "image/png")
        assert png.body.startswith(b"\x89PNG")
        svg = self.send("GET", f"/links/{code}/qr.svg")
        assert (svg.status, svg.headers["content-type"]) == (200, "image/svg+xml")
        assert b"<svg" in svg.body
        self.refused(self.send("GET", "/links/none/qr.png"), 404)

    def test_stats_count_people(self) -> None:
        link = self.make_link(campaign=self.name("spring"))
        visitor = uuid4().hex
        self.visit(
            [
                self.click(link, visitor),
                self.click(link, visitor, occurred_at=_ago(hours=20)),
                self.click(link, uuid4().hex),
                self.click(link, uuid4().hex, user_agent="Googlebot/2.1"),
            ]
        )
        stats = self.send("GET", f"/links/{link['code']}/stats").json
        assert (stats["clicks"], stats["visitors"], stats["ignored"]) == (3, 2, 1)
        assert sum(stats["days"].values()) == 3
        since = quote(_ago(hours=21).isoformat())
        late = self.send("GET", f"/links/{link['code']}/stats?since={since}").json
        assert late["clicks"] == 1
        [campaign] = self.send("GET", f"/campaigns?search={link['campaign']}").json["items"]
        assert self.send("GET", f"/campaigns/{campaign['id']}/stats").json["clicks"] == 3
        assert self.send("GET", f"/links/{link['code']}").json["clicks"] == 3

    # -- other records ------------------------------------------------------------------------------

    def test_campaigns(self) -> None:
        name = self.name("spring")
        body = {"name": name, "title": "Spring", "budget": 123_45, "starts": "2026-03-01"}
        made = self.send("POST", "/campaigns", body)
        assert made.status == 201, made.body
        assert {key: made.json[key] for key in body} == body
        path = f"/campaigns/{made.json['id']}"
        self.refused(self.send("POST", "/campaigns", body), 409, "name")
        changed = self.send("PATCH", path, {"ends": "2026-03-31", "budget": 0})
        assert (changed.json["ends"], changed.json["budget"]) == ("2026-03-31", 0)
        cleared = self.send("PATCH", path, {"ends": None})
        assert cleared.json["ends"] is None
        link = self.make_link(campaign=name)
        used = self.refused(self.send("DELETE", path), 409, "has links")
        assert used["remedy"] == "Change first what the detail names."
        assert self.send("PATCH", f"/links/{link['code']}", {"campaign": ""}).status == 200
        assert self.send("DELETE", path).status == 204
        self.refused(self.send("GET", path), 404)

    def test_templates_make_links(self) -> None:
        body = {
            "name": self.name("pages"),
            "text": "https://shop.example/{page}?m={day}",
            "variables": [{"name": "page", "kind": "slug"}, {"name": "day", "default": "monday"}],
        }
        made = self.send("POST", "/templates", body)
        assert made.status == 201, made.body
        path = f"/templates/{made.json['id']}"
        rows = [{"page": "shoes"}, {"page": "hats", "day": "friday"}]
        links = self.send("POST", f"{path}/links", {"rows": rows, "source": "mail"})
        assert links.status == 201, links.body
        assert [item["destination"] for item in links.json["items"]] == [
            "https://shop.example/shoes?m=monday",
            "https://shop.example/hats?m=friday",
        ]
        wrong = self.send("POST", f"{path}/links", {"rows": [rows[0], {"page": "No slug"}]})
        self.refused(wrong, 422, "rows[1].page")
        broken = self.send("PATCH", path, {"text": "https://shop.example/{nothing}"})
        problem = self.refused(broken, 422, "nothing")
        assert [fault["field"] for fault in problem["errors"]] == ["text"]
        variables = [{"name": "page"}, {"name": "day", "kind": "choice"}]
        unusable = self.send("PATCH", path, {"variables": variables})
        problem = self.refused(unusable, 422, "day")
        assert [fault["field"] for fault in problem["errors"]] == ["variables[1]"]
        assert self.send("DELETE", path).status == 204

    def test_endpoints_show_their_secret_once(self) -> None:
        body = {"url": "https://hooks.example/in", "events": ["lead.attributed"]}
        again = {"Idempotency-Key": self.name()}
        made = self.send("POST", "/webhook-endpoints", body, headers=again)
        assert made.status == 201, made.body
        secret = made.json["secret"]
        assert secret.startswith("whsec_")
        repeated = self.send("POST", "/webhook-endpoints", body, headers=again)
        assert (repeated.json["id"], repeated.json["secret"]) == (made.json["id"], None)
        path = f"/webhook-endpoints/{made.json['id']}"
        assert "secret" not in self.send("GET", path).json
        rotated = self.send("POST", f"{path}/rotate")
        assert rotated.status == 200
        assert rotated.json["secret"].startswith("whsec_")
        assert rotated.json["secret"] != secret
        assert self.send("PATCH", path, {"enabled": False}).json["enabled"] is False
        tried = self.send("POST", f"{path}/test")
        assert (tried.status, tried.json) == (202, {"waiting": 1})
        future = {"since": _ago(days=-1).isoformat(), "failed_only": True}
        assert self.send("POST", f"{path}/replay", future).json == {"waiting": 0}
        assert self.send("DELETE", path).status == 204

    def test_deliveries_are_listed_and_replayed(self) -> None:
        """The receiver lies in a network that no message is sent to, so that they wait."""
        body = {"url": "https://hooks.example/in", "events": ["link.created"], "enabled": False}
        ids = [self.send("POST", "/webhook-endpoints", body).json["id"] for _ in range(2)]
        path, other = (f"/webhook-endpoints/{key}/messages" for key in ids)
        begun = _ago()
        for _ in range(3):
            assert self.send("POST", f"/webhook-endpoints/{ids[0]}/test").status == 202
        first = self.send("GET", f"{path}?limit=2").json
        rest = self.send("GET", f"{path}?limit=2&cursor={first['next']}").json
        messages = [*first["items"], *rest["items"]]
        assert rest["next"] is None
        assert len({message["id"] for message in messages}) == 3
        moments = [message["created_at"] for message in messages]
        assert moments == sorted(moments, reverse=True)
        for message in messages:
            told = (message["endpoint"], message["event"], message["status"], message["attempts"])
            assert told == (ids[0], "trackflow.test", "waiting", 0)
            assert message["next_attempt_at"] and not message["delivered_at"]
            assert (message["problem"], "data" in message) == ("", False)
        since = quote((begun - timedelta(minutes=5)).isoformat())
        for narrowed, number in (
            ("status=waiting&event=trackflow.test", 3),
            ("status=failed", 0),
            ("event=link.created", 0),
            (f"since={since}", 3),
            (f"until={since}", 0),
        ):
            found = self.send("GET", f"{path}?{narrowed}").json["items"]
            assert len(found) == number, narrowed
        assert self.send("GET", other).json["items"] == []
        self.refused(self.send("GET", f"{path}?status=unknown"), 422, "status")
        self.refused(self.send("GET", "/webhook-endpoints/999999999/messages"), 404)

        one = messages[1]["id"]
        assert self.send("GET", f"{path}/{one}").json["data"]
        self.refused(self.send("GET", f"{other}/{one}"), 404, one)
        self.refused(self.send("POST", f"{other}/{one}/replay"), 404, one)
        again = self.send("POST", f"{path}/{one}/replay")
        assert (again.status, again.json) == (202, {"waiting": 1})
        kept = self.send("GET", f"{path}/{one}").json
        assert (kept["id"], kept["status"]) == (one, "waiting")
        assert kept["next_attempt_at"] > messages[1]["next_attempt_at"]

        reader = self.new_key(["webhooks:read"])
        assert self.send("GET", path, token=reader).status == 200
        self.refused(self.send("POST", f"{path}/{one}/replay", token=reader), 403)
        self.refused(self.send("GET", path, token=self.new_key(["links:read"])), 403)

    # -- requests ----------------------------------------------------------------------------------

    def test_a_repeated_post_is_done_once(self) -> None:
        body = {"destination": "https://shop.example/once", "title": self.name("once")}
        again = {"Idempotency-Key": self.name()}
        first = self.send("POST", "/links", body, headers=again)
        second = self.send("POST", "/links", body, headers=again)
        assert (first.status, second.status) == (201, 201)
        assert second.body == first.body
        assert second.headers["idempotency-replayed"] == "true"
        found = self.send("GET", f"/links?search={body['title']}").json["items"]
        assert len(found) == 1
        other = self.send("POST", "/links", {**body, "title": "Else"}, headers=again)
        self.refused(other, 422, "Idempotency-Key")
        refused = {"Idempotency-Key": self.name()}
        taken = {"code": first.json["code"], "destination": "https://shop.example/"}
        for _ in range(2):
            self.refused(self.send("POST", "/links", taken, headers=refused), 409)

    def test_pages_follow_each_other(self) -> None:
        campaign = self.name("paged")
        codes = [self.make_link(campaign=campaign)["code"] for _ in range(5)]
        seen: list[str] = []
        cursor = ""
        for expected in (2, 2, 1):
            reply = self.send("GET", f"/links?campaign={campaign}&limit=2&cursor={cursor}")
            assert len(reply.json["items"]) == expected
            seen += [item["code"] for item in reply.json["items"]]
            cursor = reply.json["next"]
        assert cursor is None
        assert seen == codes[::-1]
        self.refused(self.send("GET", "/links?cursor=nonsense"), 422, "cursor")

    def test_wrong_values_are_named(self) -> None:
        for body, field in (
            ({"destination": "javascript:alert(1)"}, "destination"),
            ({"destination": 5}, "destination"),
            ({}, "destination"),
            ({"destination": "https://shop.example/", "colour": "red"}, "colour"),
            ({"destination": "https://shop.example/", "title": "a\0b"}, "title"),
            ({"destination": "https://shop.example/", "ends": "tomorrow"}, "ends"),
            (
                {"destination": "https://a.example", "variants": [{"name": "A"}]},
                "variants[0].destination",
            ),
        ):
            problem = self.refused(self.send("POST", "/links", body), 422, field)
            faults = {fault["field"] for fault in problem["errors"]}
            assert any(fault.startswith(field) for fault in faults), faults
        self.refused(self.send("GET", "/links?limit=0"), 422, "limit")
        self.refused(self.send("GET", "/links?colour=red"), 422, "colour")

    def test_a_short_url_is_refused_by_its_field(self) -> None:
        held = self.make_link()
        short, shop = held["short_url"], "https://shop.example/"
        for body, field in (
            ({"destination": short}, "destination"),
            ({"destination": shop, "fallback": short}, "fallback"),
            (
                {"destination": shop, "variants": [{"name": "B", "destination": short}]},
                "variants[0].destination",
            ),
            (
                {"destination": shop, "rules": [{"destination": short, "device": "mobile"}]},
                "rules[0].destination",
            ),
        ):
            for method, path in (("POST", "/links"), ("PATCH", f"/links/{held['code']}")):
                problem = self.refused(self.send(method, path, body), 422, short)
                assert [fault["field"] for fault in problem["errors"]] == [field], problem

    def test_what_is_no_json_is_refused(self) -> None:
        self.refused(self.send("POST", "/links", b"{"), 400, "JSON")
        self.refused(self.send("POST", "/links", b"\xff\xfe"), 400)
        self.refused(self.send("POST", "/links", b'{"destination": NaN}'), 400, "NaN")
        self.refused(self.send("POST", "/links", b"[" * 100 + b"]" * 100), 400, "nested")
        self.refused(self.send("POST", "/links", b"[" * 100_000), 400)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.refused(self.send("POST", "/links", b"a=b", headers=form), 415)
        big = b'{"destination": "' + b"a" * (1024 * 1024) + b'"}'
        self.refused(self.send("POST", "/links", big), 413)

    def test_unknown_paths_and_methods(self) -> None:
        self.refused(self.send("GET", "/nothing"), 404)
        self.refused(self.send("GET", "/links/none/at/all"), 404)
        self.refused(self.send("GET", "/campaigns/none"), 404)
        reply = self.send("PUT", "/links", {})
        self.refused(reply, 405)
        assert reply.headers["allow"] == "GET, HEAD, POST"
        assert self.send("HEAD", "/links").body == b""

    def test_the_api_describes_itself(self) -> None:
        reply = self.send("GET", "/openapi.json", token="")
        assert reply.status == 200
        assert reply.json["openapi"].startswith("3.1")
        assert reply.json["servers"][0]["url"].endswith("/trackflow/api/v1")
        for path in ("/links", "/links/{code}/stats", "/deals/{ref}/attribution"):
            assert path in reply.json["paths"]

    # -- journeys ------------------------------------------------------------------------------------

    def test_from_a_click_to_a_deal(self) -> None:
        """What an integrator does: a link, its clicks, a lead, a deal, and its receipt."""
        campaign, visitor = self.name("spring"), uuid4().hex
        first = self.make_link(campaign=campaign, source="google", medium="cpc")
        second = self.make_link(campaign=campaign, source="newsletter", medium="email")
        one = self.click(first, visitor, occurred_at=_ago(days=3))
        two = self.click(second, visitor, occurred_at=_ago(days=2))
        self.visit([one, two])
        lead, deal = self.name("L"), self.name("D")
        body = {
            "name": "Asks",
            "visitors": [visitor],
            "created_at": _ago(days=1).isoformat(),
            "occurred_at": _ago(days=1).isoformat(),
        }
        made = self.send("PUT", f"/leads/{lead}", body)
        assert made.status == 201, made.body
        assert made.json["visitors"] == [visitor]
        assert made.json["ref"] == f"api/{lead}"
        assert self.send("PUT", f"/leads/{lead}", body).status == 200
        journey = self.send("GET", f"/leads/{lead}/journey").json
        assert [touch["id"] for touch in journey["touches"]] == [one.event_id, two.event_id]
        told = {
            "lead": lead,
            "value": 100_01,
            "currency": self.currency,
            "status": "won",
            "created_at": _ago(hours=3).isoformat(),
        }
        sold = self.send("PUT", f"/deals/{deal}", told)
        assert sold.status == 201, sold.body
        assert (sold.json["value"], sold.json["status"]) == (100_01, "won")
        read = self.send("GET", f"/deals/{deal}")
        assert (read.json, read.headers["etag"]) == (sold.json, sold.headers["etag"])
        journey = self.send("GET", f"/deals/{deal}/journey").json
        sources = [touch["source"].lower() for touch in journey["touches"]]
        assert sources == ["google", "newsletter"]
        models = self.send("GET", "/attribution/models").json["items"]
        rules = {model["rule"]: model["name"] for model in models}
        path = f"/deals/{deal}/attribution"
        reply = self.send("GET", f"{path}?model={quote(rules['linear'])}")
        assert reply.status == 200, reply.body
        receipt = reply.json
        assert [credit["value"] for credit in receipt["credits"]] == [50_01, 50_00]
        last = self.send("GET", f"{path}?model={quote(rules['last_touch'])}").json
        assert [credit["value"] for credit in last["credits"]] == [0, 100_01]
        assert len(receipt["digest"]) == 64
        # One form of moments everywhere.
        told_at = [receipt["anchor"], *(credit["occurred_at"] for credit in receipt["credits"])]
        assert told_at == [sold.json["created_at"], *(t["occurred_at"] for t in journey["touches"])]
        for moment in told_at:
            assert moment.endswith("Z"), moment
        known = hooks.load().rules
        for name in (model["name"] for model in models):
            told = self.send("GET", f"{path}?model={quote(name)}").json
            assert check(told, known) == [], name
            told["credits"][0]["value"] += 1
            assert len(check(told, known)) == 1, name
        own = self.send("GET", f"/leads/{lead}/attribution").json
        assert own["deals"][0]["sum"] == 100_01
        names = "&".join(f"model={quote(rules[rule])}" for rule in ("linear", "last_touch"))
        rows = self.send("GET", f"/attribution/compare?{names}").json["campaigns"]
        [ours] = [row for row in rows if row["campaign"] == campaign]
        assert set(ours["values"].values()) == {100_01}
        self.refused(self.send("GET", f"/deals/{deal}/attribution?model=none"), 422, "model")
        conversions = self.send("GET", f"/conversions?campaign={campaign}").json["items"]
        assert {item["kind"] for item in conversions} == {"lead", "won"}

    def test_an_older_fact_does_not_win(self) -> None:
        deal = self.name("D")
        body = {"lead": self.name("L"), "value": 500, "currency": self.currency}
        newest = {**body, "occurred_at": _ago(hours=1).isoformat()}
        assert self.send("PUT", f"/deals/{deal}", newest).json["value"] == 500
        older = {**body, "value": 7, "occurred_at": _ago(hours=2).isoformat()}
        assert self.send("PUT", f"/deals/{deal}", older).json["value"] == 500
        ahead = {**body, "value": 8, "occurred_at": _ago(days=-400).isoformat()}
        told = self.send("PUT", f"/deals/{deal}", ahead).json
        assert told["value"] == 8
        assert datetime.fromisoformat(told["occurred_at"]) <= datetime.now(timezone.utc)
        current = self.send("GET", f"/deals/{deal}").headers["etag"]
        kept = self.send("PUT", f"/deals/{deal}", {**body, "value": 9}, headers={"If-Match": '"x"'})
        self.refused(kept, 412)
        done = self.send(
            "PUT", f"/deals/{deal}", {**body, "value": 9}, headers={"If-Match": current}
        )
        assert (done.status, done.json["value"]) == (200, 9)

    def test_what_others_tell_is_theirs(self) -> None:
        self.refused(self.send("PUT", "/leads/crm.lead/1", {"name": "Mine"}), 403, "crm.lead/1")
        self.refused(self.send("GET", f"/leads/{self.name('L')}"), 404)
        self.refused(self.send("GET", f"/deals/{self.name('D')}/attribution"), 404)

    def test_visitors_and_their_events(self) -> None:
        visitor, link = uuid4().hex, self.make_link(campaign=self.name("spring"))
        click = self.click(link, visitor)
        self.visit([click])
        found = self.send("GET", f"/visitors/{visitor}").json
        assert (found["clicks"], found["first"]["campaign"]) == (1, link["campaign"])
        journey = self.send("GET", f"/visitors/{visitor}/journey").json
        assert [event["id"] for event in journey["events"]] == [click.event_id]
        assert [session["hits"] for session in journey["sessions"]] == [1]
        events = self.send("GET", f"/events?link={link['code']}").json["items"]
        assert [event["visitor"] for event in events] == [visitor]
        visitors = self.send("GET", f"/visitors?since={quote(_ago(days=2).isoformat())}").json
        assert visitor in {item["id"] for item in visitors["items"]}
        self.refused(self.send("GET", f"/visitors/{'0' * 32}"), 404)

    def test_events_are_told(self) -> None:
        visitor, link = uuid4().hex, self.make_link()
        event = {
            "id": uuid4().hex,
            "type": "signup",
            "visitor": visitor,
            "url": "https://shop.example/signup",
            "user_agent": BROWSER,
            "address": "198.51.100.7",
            "data": {"plan": "team"},
            "occurred_at": _ago(minutes=5).isoformat(),
        }
        clicked = {**event, "id": uuid4().hex, "type": "click", "link": link["code"], "data": {}}
        for _ in range(2):
            told = self.send("POST", "/events", {"events": [event, clicked]})
            assert (told.status, told.json) == (202, {"accepted": 2}), told.body
        self.visit([])
        found = self.send("GET", f"/events?visitor={visitor}").json["items"]
        assert {(item["type"], item["id"]) for item in found} == {
            ("signup", event["id"]),
            ("click", clicked["id"]),
        }
        assert [item["data"] for item in found if item["type"] == "signup"] == [{"plan": "team"}]
        wrong = [{**event, "link": link["code"]}, {**clicked, "link": ""}]
        reply = self.send("POST", "/events", {"events": wrong})
        self.refused(reply, 422, "events[0].link", "events[1].link")

    def test_an_edge_copies_links_and_hands_in_events(self) -> None:
        token = self.new_key(["edge:read", "events:write"])
        self.refused(self.send("GET", "/edge"), 403, "edge:read")
        settings = self.send("GET", "/edge", token=token).json
        assert all(settings["visitor_keys"])
        link = self.make_link(campaign=self.name("spring"), language="de")
        cursor = ""
        found: dict[str, Any] = {}
        for _ in range(1000):
            part = self.send("GET", f"/edge/links?limit=100&cursor={quote(cursor)}", token=token)
            assert part.status == 200, part.body
            cursor = part.json["next"]
            found.update((item["code"], item) for item in part.json["items"])
            if not part.json["more"]:
                break
        copy = found[link["code"]]
        assert {key: copy[key] for key in copy if key != "zone"} == {
            key: link[key] for key in copy if key != "zone"
        }
        self.send("PATCH", f"/links/{link['code']}", {"destination": "https://new.example/"})
        part = self.send("GET", f"/edge/links?cursor={quote(cursor)}", token=token).json
        changed = {item["code"]: item["destination"] for item in part["items"]}
        assert changed[link["code"]] == "https://new.example/"
        self.refused(self.send("GET", "/edge/links?cursor=nonsense", token=token), 422)
        event = {"type": "click", "link": link["code"], "visitor": uuid4().hex, "internal": True}
        told = {"events": [{**event, "id": uuid4().hex, "user_agent": BROWSER}]}
        for _ in range(2):
            assert self.send("POST", "/events", told, token=token).status == 202
        self.visit([])
        stats = self.send("GET", f"/links/{link['code']}/stats").json
        assert (stats["clicks"], stats["ignored"]) == (0, 1)

    def test_a_person_is_exported_and_erased(self) -> None:
        visitor, link, lead = uuid4().hex, self.make_link(), self.name("L")
        click = self.click(link, visitor)
        self.visit([click])
        self.send("PUT", f"/leads/{lead}", {"name": "Asks", "visitors": [visitor]})
        told = self.send("POST", "/privacy/export", {"lead": lead}).json
        assert [item["visitor"] for item in told["visitors"]] == [visitor]
        assert told["visitors"][0]["events"][0]["id"] == click.event_id
        assert [item["name"] for item in told["leads"]] == ["Asks"]
        self.refused(self.send("POST", "/privacy/export", {}), 422)
        reader = self.new_key(["privacy:read"])
        self.refused(self.send("POST", "/privacy/erase", {"lead": lead}, token=reader), 403)
        erased = self.send("POST", "/privacy/erase", {"visitor": visitor})
        assert erased.json == {"visitors": [visitor]}
        self.refused(self.send("GET", f"/visitors/{visitor}"), 404)
        assert self.send("GET", f"/leads/{lead}/journey").json["touches"] == []


def _lower(headers: Any) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _ago(**span: float) -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0) - timedelta(**span)
