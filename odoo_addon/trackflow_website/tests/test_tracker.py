import json
from unittest.mock import patch

from odoo import http
from odoo.addons.trackflow.tests.common import BROWSER, TrackflowCase
from odoo.addons.trackflow.tests.test_front import in_front
from odoo.tests import HttpCase, tagged
from odoo.tests.common import ChromeBrowser

from trackflow_core import tracker
from trackflow_core.tracking.identity import COOKIE_NAME

EVENT = {"id": "e" * 32, "type": "page_view", "url": "https://shop.example/prices", "age": 0}

# Runs in the visitor's browser: what a page of a shop would do, and what breaks.
_VISIT = """
    (async () => {
        const form = document.createElement("form");
        form.dataset.trackflow = "";
        document.body.append(form);
        trackflow.track("signup", {plan: "größer"});
        trackflow.track("Not A Name");
        history.pushState({}, "", "/contactus?step=2");
        const circle = {}; circle.self = circle;
        trackflow.track("circle", circle);
        for (let i = 0; i < 100 && !form.elements.trackflow_visitor_token; i++) {
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        if (!form.elements.trackflow_visitor_token.value) {
            throw new Error("The form has no token.");
        }
        for (let i = 0; i < 100 && localStorage.trackflow_events !== "[]"; i++) {
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        console.log("test successful");
    })();
"""

# The page's own dialogue is answered after the form was given its token.
_REFUSE = """
    (async () => {
        const form = document.createElement("form");
        form.dataset.trackflow = "";
        document.body.append(form);
        const until = async (done) => {
            for (let i = 0; i < 100 && !done(); i++) {
                await new Promise((resolve) => setTimeout(resolve, 50));
            }
        };
        const field = () => form.elements.trackflow_visitor_token;
        await until(() => trackflow.token());
        // The page may have told its view before the form came.
        form.dispatchEvent(new Event("submit", { bubbles: true }));
        if (!field() || !field().value) {
            throw new Error("The form has no token.");
        }
        trackflow.consent("denied");
        await until(() => !field().value);
        if (field().value || trackflow.token()) {
            throw new Error("The visitor's token is still there.");
        }
        console.log("test successful");
    })();
"""

# A pointer comes near a link to another site of ours, presses it, and does so again much later.
_CROSS = """
    (async () => {
        const plain = "https://shop.example/landing";
        const link = document.createElement("a");
        link.href = plain;
        document.body.append(link);
        const asked = [];
        const fetch = window.fetch;
        window.fetch = (url, options) => {
            const { to } = JSON.parse(options.body);
            asked.push(...(to ? [to] : []));
            return fetch(url, options);
        };
        const point = (kind) => link.dispatchEvent(new PointerEvent(kind, { bubbles: true }));
        point("pointerover");
        for (let i = 0; i < 100 && !link.href.includes("trackflow_x="); i++) {
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        if (!link.href.startsWith(`${plain}?trackflow_x=`)) {
            throw new Error(`The link leads to ${link.href}.`);
        }
        point("pointerdown");
        const now = Date.now;
        Date.now = () => now() + 120000;
        point("pointerdown");
        if (asked.join() !== [plain, plain].join()) {
            throw new Error(`Asked for ${asked}.`);
        }
        console.log("test successful");
    })();
"""


@tagged("post_install", "-at_install")
class TestTracker(HttpCase, TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["website"].search([]).write({"cookies_bar": False})

    def setUp(self):
        super().setUp()
        self.opener.headers["User-Agent"] = BROWSER

    def tell(self, *events, headers=None, **more):
        return self.url_open(
            "/trackflow/collect",
            data=json.dumps({"events": events, **more}),
            headers={"Content-Type": "text/plain", **(headers or {})},
        )

    def events(self):
        self.drain()
        self.env.invalidate_all()
        return self.env["trackflow.event"].search([], order="timestamp, id")

    def test_the_script_is_served_and_kept(self):
        answer = self.url_open("/trackflow/t.js")
        self.assertEqual(answer.content, tracker.script())
        self.assertEqual(answer.headers["Content-Type"], "text/javascript; charset=utf-8")
        again = self.url_open("/trackflow/t.js", headers={"If-None-Match": answer.headers["ETag"]})
        self.assertEqual(again.status_code, 304)
        self.assertIn('src="/trackflow/t.js"', self.url_open("/", timeout=60).text)

    def test_what_is_told_becomes_events_of_one_visitor(self):
        first = self.tell(EVENT)
        self.assertEqual(first.status_code, 200)
        self.assertTrue(first.json()["token"])
        self.assertTrue(self.opener.cookies[COOKIE_NAME])
        self.tell({**EVENT, "id": "f" * 32, "type": "signup", "data": {"plan": "x"}})
        self.tell(EVENT)
        viewed, signed = self.events()
        self.assertEqual((viewed.event_type, signed.event_type), ("page_view", "signup"))
        self.assertTrue(viewed.visitor_id)
        self.assertEqual(viewed.visitor_id, signed.visitor_id)
        self.assertEqual(viewed.session_id.hits, 2)
        self.assertEqual(viewed.visitor_id.page_views, 1)
        self.assertEqual(signed.event_data, '{"plan": "x"}')

    def test_a_visit_belongs_to_the_company_of_its_site(self):
        company = self.env["res.company"].create({"name": "TrackFlow Elsewhere"})
        self.env["website"].search([]).company_id = company
        self.tell(EVENT)
        [event] = self.events()
        self.assertEqual(event.company_id, company)
        self.assertEqual(event.session_id.company_id, company)
        for record in (event, event.session_id):
            self.assertFalse(record.with_user(self.marketer)._filtered_access("read"))

    def test_who_refuses_is_counted_alone(self):
        answer = self.tell(EVENT, consent="denied")
        self.assertEqual(answer.json(), {})
        self.assertNotIn(COOKIE_NAME, self.opener.cookies)
        [event] = self.events()
        self.assertFalse(event.visitor_id)
        self.assertEqual(event.tier, "aggregate")

    def test_other_sites_may_not_tell_anything(self):
        answer = self.tell(EVENT, headers={"Origin": "https://evil.example"})
        self.assertEqual(answer.status_code, 403)
        self.assertNotIn("Access-Control-Allow-Origin", answer.headers)
        self.assertFalse(self.events())
        self.env["website"].search([], limit=1).domain = "https://www.shop.example"
        answer = self.tell(EVENT, headers={"Origin": "https://shop.example"})
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://shop.example")

    def test_what_is_wrong_is_said_and_the_rest_is_kept(self):
        answer = self.tell(EVENT, {**EVENT, "id": "short"})
        self.assertEqual(answer.status_code, 200)
        self.assertIn("Event 2: 'id'", answer.json()["errors"][0])
        self.assertEqual(len(self.events()), 1)
        answer = self.tell(consent="maybe")
        self.assertEqual(answer.status_code, 400)
        self.assertIn("'consent'", answer.json()["error"])

    def test_a_pixel_counts_opened_mails(self):
        answer = self.url_open("/trackflow/pixel.gif?utm_campaign=spring&utm_medium=email")
        self.assertEqual(answer.content, tracker.PIXEL)
        [event] = self.events()
        self.assertEqual((event.event_type, event.campaign), ("email_open", "spring"))
        self.assertFalse(event.visitor_id)

    def test_visitors_come_over_from_another_site_of_ours(self):
        self.env["website"].search([], limit=1).domain = "https://www.shop.example"
        there = self.tell(EVENT, to="https://shop.example/landing").json()["to"]
        self.assertIn("https://shop.example/landing?", there)
        [before] = self.events()
        self.opener.cookies.clear()
        self.tell({**EVENT, "id": "a" * 32, "url": there})
        self.assertEqual(self.events().visitor_id, before.visitor_id)
        self.opener.cookies.clear()
        # Not the last letter, of which some bits mean nothing.
        forged = there[:-5] + ("A" if there[-5] != "A" else "B") + there[-4:]
        self.tell({**EVENT, "id": "b" * 32, "url": forged})
        self.assertEqual(len(self.events().visitor_id), 2)

    def browse(self, url, script):
        """Run a script in a real browser on a page that the tracker is on."""
        navigate = ChromeBrowser.navigate_to

        def navigate_to(browser, *args, **kwargs):
            browser._websocket_request(
                "Network.setUserAgentOverride", params={"userAgent": BROWSER}
            )
            return navigate(browser, *args, **kwargs)

        # The first page of a new website makes its assets, for which no browser waits.
        self.url_open("/contactus", timeout=60)
        with patch.object(ChromeBrowser, "navigate_to", navigate_to):
            self.browser_js(url, script, "!!window.trackflow")

    def test_links_to_other_sites_of_ours_are_signed_before_they_are_pressed(self):
        self.env["website"].search([], limit=1).domain = "https://www.shop.example"
        self.browse("/contactus", _CROSS)

    def test_who_refuses_on_the_page_sends_no_token(self):
        self.browse("/contactus", _REFUSE)

    def test_a_real_browser_tells_of_its_visit(self):
        self.browse("/contactus?utm_source=fair", _VISIT)
        events = self.events()
        kinds = events.mapped("event_type")
        self.assertEqual(kinds.count("page_view"), 2)
        self.assertEqual(kinds.count("signup"), 1)
        self.assertEqual(len(events.visitor_id), 1)
        self.assertEqual(len(events.session_id), 1)
        self.assertEqual(events[0].source, "fair")
        self.assertIn("größer", "".join(events.filtered("event_data").mapped("event_data")))
        lead = self.opportunity(events.visitor_id.visitor_key)
        self.assertEqual(lead.trackflow_touch_count, 1)


@tagged("post_install", "-at_install")
class TestTrackerInFront(TestTracker):
    """What is promised of the tracker holds in front of Odoo's dispatch."""

    def setUp(self):
        super().setUp()
        self.memory = self.enterContext(in_front(self.env.cr.dbname))

    def test_odoo_is_not_asked(self):
        with patch.object(http.Request, "_serve_db", side_effect=AssertionError("in Odoo")):
            self.assertTrue(self.tell(EVENT).json()["token"])
        self.assertEqual(self.memory.kept, 1)
