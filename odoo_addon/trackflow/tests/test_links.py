import base64
import io
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, HttpCase, tagged, users
from odoo.tools import mute_logger
from psycopg2 import IntegrityError

from trackflow_core.tracking.identity import new_visitor_id

from .common import BROWSER, TrackflowCase

PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)


@tagged("post_install", "-at_install")
class TestLinkDestinations(HttpCase, TrackflowCase):
    """Status, dates, rules, variants, scans and domains, as a visitor meets them."""

    def setUp(self):
        super().setUp()
        self.opener.headers["User-Agent"] = BROWSER
        self.link = self.links[0]
        if "website" in self.env:
            self.env["website"].search([]).write({"cookies_bar": False})

    def click(self, query="", link=None, **headers):
        self.env.flush_all()
        return self.url_open(
            f"/r/{(link or self.link).code}{query}",
            allow_redirects=False,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def leads_to(self, query="", **headers):
        answer = self.click(query, **headers)
        self.assertEqual(answer.status_code, 302)
        return answer.headers["Location"].partition("?")[0]

    def queued(self):
        self.env.invalidate_all()
        return self.env["trackflow.click.queue"].search([("link_code", "=", self.link.code)])

    def test_a_link_out_of_use_says_why_or_leads_elsewhere(self):
        today = fields.Date.today()
        for vals, status, words in (
            ({"trackflow_paused": True}, 404, "resting"),
            ({"active": False}, 410, "no longer valid"),
            ({"trackflow_start_date": today + timedelta(days=2)}, 404, "not open yet"),
            ({"trackflow_expiry_date": today - timedelta(days=2)}, 410, "no longer valid"),
        ):
            with self.subTest(vals=vals):
                before = {name: self.link[name] for name in vals}
                self.link.write({**vals, "trackflow_fallback_url": False})
                answer = self.click()
                self.assertEqual(answer.status_code, status)
                self.assertIn(words, answer.text)
                self.link.trackflow_fallback_url = "https://shop.example/home"
                self.assertEqual(self.leads_to(), "https://shop.example/home")
                self.assertFalse(self.queued())
                self.link.write(before)
        self.assertEqual(self.leads_to(), self.link.url)

    def test_a_days_end_is_that_of_the_links_zone(self):
        today = fields.Date.today()
        ahead = fields.Datetime.now().hour >= 12
        # Where it is already tomorrow, or still yesterday, whatever the clock says here.
        self.link.trackflow_zone = "Pacific/Kiritimati" if ahead else "Etc/GMT+12"
        self.link.trackflow_expiry_date = today if ahead else today - timedelta(days=1)
        self.assertEqual(self.click().status_code, 410 if ahead else 302)
        status = "expired" if ahead else "active"
        self.assertEqual(self.link.trackflow_status, status)
        mine = [("id", "=", self.link.id)]
        found = self.env["link.tracker"].search([*mine, ("trackflow_status", "=", status)])
        self.assertEqual(found, self.link)
        # Without a zone of its own, the link follows its company's.
        self.link.trackflow_zone, zone = False, self.link.trackflow_zone
        (self.link.trackflow_company_id or self.env.company).partner_id.tz = zone
        self.assertEqual(self.link.trackflow_status, status)
        found = self.env["link.tracker"].search([*mine, ("trackflow_status", "=", status)])
        self.assertEqual(found, self.link)

    def test_the_first_rule_that_fits_decides(self):
        rule = self.env["trackflow.link.rule"]
        common = {"link_id": self.link.id}
        rule.create(
            [
                {**common, "device": "mobile", "url": "https://m.shop.example/", "sequence": 1},
                {**common, "language": "de", "url": "https://shop.example/de", "sequence": 2},
                {**common, "query": "ref=vip", "url": "https://shop.example/vip", "sequence": 3},
                {
                    **common,
                    "until": fields.Date.today() - timedelta(days=3),
                    "url": "https://shop.example/over",
                    "sequence": 4,
                },
            ]
        )
        self.assertEqual(self.leads_to(), self.link.url)
        self.assertEqual(self.leads_to(User_Agent=PHONE), "https://m.shop.example/")
        self.assertEqual(self.leads_to(Accept_Language="de-AT"), "https://shop.example/de")
        self.assertEqual(self.leads_to("?ref=vip"), "https://shop.example/vip")
        self.assertEqual(
            self.leads_to("?ref=vip", User_Agent=PHONE, Accept_Language="de"),
            "https://m.shop.example/",
        )
        self.drain()
        self.env.invalidate_all()
        self.assertEqual(self.link.trackflow_rule_ids.mapped("clicks"), [2, 1, 1, 0])

    def test_a_rule_of_a_country(self):
        self.env["trackflow.link.rule"].create(
            {
                "link_id": self.link.id,
                "country_ids": [(6, 0, self.env.ref("base.be").ids)],
                "url": "https://shop.example/be",
            }
        )
        self.assertEqual(self.leads_to(), self.link.url)
        with self.patch_country("BE"):
            self.assertEqual(self.leads_to(), "https://shop.example/be")

    def patch_country(self, code):
        from unittest.mock import PropertyMock, patch

        from odoo.http import GeoIP

        return patch.object(GeoIP, "country_code", PropertyMock(return_value=code))

    def test_variants_share_clicks_and_a_visitor_keeps_one(self):
        variant = self.env["trackflow.link.variant"]
        variant.create(
            [
                {"link_id": self.link.id, "name": "A", "url": "https://shop.example/a"},
                {"link_id": self.link.id, "name": "B", "url": "https://shop.example/b"},
                {
                    "link_id": self.link.id,
                    "name": "Off",
                    "url": "https://shop.example/off",
                    "active": False,
                },
            ]
        )
        seen = set()
        for _visitor in range(12):
            self.opener.cookies.clear()
            first = self.leads_to()
            self.assertEqual([self.leads_to() for _again in range(2)], [first, first])
            seen.add(first)
        self.assertEqual(seen, {"https://shop.example/a", "https://shop.example/b"})
        self.drain()
        self.env.invalidate_all()
        self.assertEqual(sum(self.link.trackflow_variant_ids.mapped("clicks")), 36)
        self.assertEqual(sum(self.link.trackflow_variant_ids.mapped("visitors")), 12)

    def test_many_links_are_made_by_as_many_queries_as_few(self):
        counts = []
        for number in (1, 30):
            before = self.env.cr.sql_log_count
            self.env["link.tracker"].create(
                [{"url": f"https://shop.example/{number}/{page}"} for page in range(number)]
            )
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[0])

    def test_a_scan_is_told_from_a_click(self):
        answer = self.click("?qr&gclid=x")
        self.assertNotIn("?qr", answer.headers["Location"])
        self.assertIn("gclid=x", answer.headers["Location"])
        self.click()
        self.assertEqual(sorted(self.queued().mapped("scan")), [False, True])
        self.drain()
        self.env.invalidate_all()
        self.assertEqual((self.link.count, self.link.trackflow_scans), (2, 1))
        self.assertEqual(sorted(self.link.link_click_ids.mapped("trackflow_scan")), [False, True])
        self.link.link_click_ids.trackflow_visitor_id.action_forget()
        self.env.invalidate_all()
        self.assertEqual((self.link.count, self.link.trackflow_scans), (0, 0))

    def test_content_and_term_go_along(self):
        self.link.write({"trackflow_content": "blue banner", "trackflow_term": "shoes"})
        location = self.click().headers["Location"]
        self.assertTrue(location.endswith("&utm_term=shoes&utm_content=blue+banner"), location)
        self.assertEqual(location, self.link.redirected_url)
        self.drain()
        click = self.link.link_click_ids
        self.assertEqual((click.trackflow_content, click.trackflow_term), ("blue banner", "shoes"))

    def test_a_short_url_without_its_code(self):
        for path in ("/r", "/r/"):
            answer = self.url_open(path, allow_redirects=False)
            self.assertEqual(answer.status_code, 404)
            self.assertIn("This link does not exist", answer.text)

    def test_a_short_domain_adds_its_headers_and_may_record_nothing(self):
        host = "127.0.0.1"
        domain = self.env["trackflow.domain"].create({"name": "go.shop.example"})
        self.env["trackflow.domain.header"].create(
            {"domain_id": domain.id, "name": "X-Robots-Tag", "value": "noindex"}
        )
        self.assertNotIn("X-Robots-Tag", self.click().headers)
        # No test can resolve that name: the host that it does reach takes its place.
        self.env.cr.execute(
            "UPDATE trackflow_domain SET name = %s WHERE id = %s", (host, domain.id)
        )
        self.assertEqual(self.click().headers["X-Robots-Tag"], "noindex")
        self.assertEqual(len(self.queued()), 2)
        domain.tracking = False
        self.assertEqual(self.click().status_code, 302)
        self.assertEqual(len(self.queued()), 2)
        domain.custom_css = "h1 { color: #123456; }"
        self.link.active = False
        self.assertIn("#123456", self.click().text)


@tagged("post_install", "-at_install")
class TestLinkRecords(TrackflowCase):
    @users("tf_marketer")
    def test_a_link_with_the_same_parts_is_named(self):
        link = self.links[0].with_env(self.env)
        vals = {
            "url": link.url,
            "campaign_id": link.campaign_id.id,
            "source_id": link.source_id.id,
            "medium_id": link.medium_id.id,
        }
        with self.assertRaises(UserError) as caught:
            self.env["link.tracker"].create(vals)
        self.assertIn(link.short_url, str(caught.exception))
        apart = self.env["link.tracker"].create({**vals, "trackflow_content": "blue"})
        self.assertEqual(self.env["link.tracker"].search_or_create([vals]), link)
        self.assertNotEqual(apart, link)

    @users("tf_marketer")
    def test_the_form_of_a_new_link(self):
        with Form(self.env["link.tracker"]) as form:
            form.url = "https://shop.example/form"
            form.title = "From the form"
        self.assertEqual(form.record.display_name, "From the form")

    def test_an_error_of_a_destination_says_it_once(self):
        with self.assertRaises(ValidationError) as caught:
            self.links[0].url = "ftp://files.example/x"
        self.assertEqual(str(caught.exception).count("must begin with"), 1)
        with self.assertRaises(ValidationError) as caught:
            self.links[0].url = "https://"
        self.assertEqual(str(caught.exception).count("must begin with"), 1)

    def test_a_clicked_link_is_archived_not_deleted(self):
        clicked, fresh = self.links[:2]
        self.click(new_visitor_id(), 1, clicked)
        self.drain()
        with self.assertRaises(UserError):
            (clicked | fresh).unlink()
        clicked.action_archive()
        self.assertEqual(clicked.trackflow_status, "archived")
        self.assertNotIn(clicked, self.env["link.tracker"].search([]))
        fresh.unlink()
        self.assertFalse(fresh.exists())

    def test_the_status_can_be_searched(self):
        today, day = fields.Date.today(), timedelta(days=2)
        made = {}
        for status, vals in (
            ("active", {}),
            ("planned", {"trackflow_start_date": today + day}),
            ("expired", {"trackflow_expiry_date": today - day}),
            ("paused", {"trackflow_paused": True}),
            ("archived", {"active": False}),
        ):
            made[status] = self.env["link.tracker"].create(
                {"url": f"https://shop.example/{status}", **vals}
            )
        for status, link in made.items():
            self.assertEqual(link.trackflow_status, status)
            found = (
                self.env["link.tracker"]
                .with_context(active_test=False)
                .search(
                    [("trackflow_status", "=", status), ("id", "in", [x.id for x in made.values()])]
                )
            )
            self.assertEqual(found, link)

    def test_validity_in_words(self):
        link = self.links[0]
        self.assertEqual(link.trackflow_validity, "always")
        link.write(
            {
                "trackflow_start_date": "2027-03-01",
                "trackflow_expiry_date": "2027-03-31",
                "trackflow_zone": "Europe/Brussels",
                "trackflow_fallback_url": "https://shop.example/",
            }
        )
        self.assertEqual(
            link.trackflow_validity,
            "from 2027-03-01 until 2027-03-31, end of day Brussels, then to https://shop.example/",
        )

    def test_rules_and_variants_must_make_sense(self):
        link = self.links[0]
        for vals in (
            {"url": "https://shop.example/"},
            {"url": "javascript:alert(1)", "device": "mobile"},
            {"url": "https://shop.example/", "language": "german language"},
        ):
            with self.assertRaises(ValidationError):
                self.env["trackflow.link.rule"].create({"link_id": link.id, **vals})
        with self.assertRaises(ValidationError):
            self.env["trackflow.link.variant"].create(
                {"link_id": link.id, "name": "A", "url": "ftp://x.example"}
            )
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError):
            self.env["trackflow.link.variant"].create(
                {"link_id": link.id, "name": "A", "url": "https://x.example", "weight": -1}
            )

    def test_a_test_of_variants_is_put_in_words(self):
        link = self.links[0]
        self.assertFalse(link.trackflow_standing)
        first, second = self.env["trackflow.link.variant"].create(
            [
                {"link_id": link.id, "name": "A", "url": "https://shop.example/a"},
                {"link_id": link.id, "name": "B", "url": "https://shop.example/b"},
            ]
        )
        link.invalidate_recordset()
        self.assertIn("Not enough data", link.trackflow_standing)
        # 20 leads of 100 clicks against 5 of 100: z = 3.29.
        clicks = self.env["link.tracker.click"].create(
            [
                {"link_id": link.id, "trackflow_variant_id": variant.id}
                for variant in (first, second)
                for _number in range(100)
            ]
        )
        leads = self.env["crm.lead"].create([{"name": f"L{n}"} for n in range(25)])
        self.env["trackflow.conversion"].search([("lead_id", "in", leads.ids)]).unlink()
        self.env["trackflow.conversion"].create(
            [
                {"lead_id": lead.id, "kind": "lead", "click_id": click.id, "link_id": link.id}
                for lead, click in zip(leads, [*clicks[:5], *clicks[100:120]], strict=True)
            ]
        )
        self.env.invalidate_all()
        self.assertEqual(first.conversions, 5)
        self.assertEqual(second.rate, 0.2)
        self.assertEqual(link.trackflow_standing, "B is ahead, with 99% certainty.")

    def test_a_qr_code_in_colours_that_can_be_read(self):
        link = self.links[0]
        plain = link.trackflow_qr_png
        link.write({"trackflow_qr_color": "#714b67", "trackflow_qr_size": 300})
        self.assertNotEqual(link.trackflow_qr_png, plain)
        from PIL import Image

        image = Image.open(io.BytesIO(base64.b64decode(link.trackflow_qr_png)))
        self.assertEqual(image.size, (300, 300))
        self.assertIn(b"#714b67", link._trackflow_qr_svg())
        for vals in (
            {"trackflow_qr_color": "#ffffff"},
            {"trackflow_qr_color": "red"},
            {"trackflow_qr_logo": base64.b64encode(b"no image")},
        ):
            with self.assertRaises(ValidationError), self.env.cr.savepoint():
                link.write(vals)

    def test_a_form_says_which_colours_no_camera_reads(self):
        link = self.links[0]
        fields_spec = {"trackflow_qr_color": {}, "trackflow_qr_size": {}, "trackflow_qr_png": {}}
        told = link.onchange({"trackflow_qr_color": "#ffff00"}, ["trackflow_qr_color"], fields_spec)
        self.assertIn("Cameras could not read #ffff00", told["warning"]["message"])
        self.assertFalse(told["value"]["trackflow_qr_png"])
        told = link.onchange({"trackflow_qr_size": 10**6}, ["trackflow_qr_size"], fields_spec)
        self.assertNotIn("warning", told)
        self.assertTrue(told["value"]["trackflow_qr_png"])

    def test_codes_are_printed_on_a_sheet(self):
        html = self.env["ir.actions.report"]._render_qweb_html(
            "trackflow.report_link_sheet", self.links.ids
        )[0]
        self.assertEqual(html.count(b"data:image/svg+xml;base64,"), 3)
        for link in self.links:
            self.assertIn(link.short_url.encode(), html)

    def test_a_primary_domain_is_that_of_new_links(self):
        Domain = self.env["trackflow.domain"]
        domain = Domain.create({"name": " Go.Shop.Example ", "is_primary": True})
        link = self.env["link.tracker"].create({"url": "https://shop.example/d"})
        self.assertEqual(link.short_url, f"https://go.shop.example/r/{link.code}")
        domain.ssl_enabled = False
        self.assertEqual(link.short_url, f"http://go.shop.example/r/{link.code}")
        self.assertIn("go.shop.example", link._trackflow_own_hosts())
        self.assertEqual(domain.link_count, 1)
        with (
            mute_logger("odoo.sql_db"),
            self.assertRaises(IntegrityError),
            self.env.cr.savepoint(),
        ):
            Domain.create({"name": "other.example", "is_primary": True})
        company = self.env["res.company"].create({"name": "Other"})
        own = Domain.create({"name": "own.example", "is_primary": True, "company_id": company.id})
        self.assertEqual(Domain.with_company(company)._primary(), own)
        self.assertEqual(Domain._primary(), domain)

    def test_what_is_no_domain_and_no_header(self):
        for name in ("https://go.example", "go.example/x", "localhost", "a b.example"):
            with self.assertRaises(ValidationError):
                self.env["trackflow.domain"].create({"name": name})
        domain = self.env["trackflow.domain"].create({"name": "go.example.com"})
        for name, value in (
            ("Location", "https://evil.example"),
            ("Set-Cookie", "a=b"),
            ("X Bad", "x"),
            ("X-Good", "a\r\nSet-Cookie: b"),
        ):
            with self.assertRaises(ValidationError):
                self.env["trackflow.domain.header"].create(
                    {"domain_id": domain.id, "name": name, "value": value}
                )
        with self.assertRaises(ValidationError):
            domain.custom_css = "</style><script>"

    def test_a_list_of_links_asks_as_often_as_a_short_one(self):
        links = self.env["link.tracker"].create(
            [{"url": f"https://shop.example/{n}"} for n in range(80)]
        )
        names = [
            "title",
            "short_url",
            "count",
            "trackflow_conversions",
            "trackflow_status",
            "trackflow_validity",
        ]
        counts = []
        for some in (links[:2], links):
            some.read(names)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            some.read(names)
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(*counts)


@tagged("post_install", "-at_install")
class TestManyLinks(TrackflowCase):
    def preview(self, text, **vals):
        sheet = self.env["trackflow.sheet.import"].create(
            {"target": "link.tracker", "text": text, **vals}
        )
        sheet.action_preview()
        return sheet

    def make(self, sheet):
        while True:
            told = sheet.import_batch()
            if told["done"] == told["total"]:
                return self.env["link.tracker"].browse(sheet._made_ids())

    def template(self):
        return self.env["trackflow.link.template"].create(
            {
                "name": "Posters",
                "url_template": "https://shop.example/{page|slug}?city={city}",
                "title_template": "Poster {city}",
                "campaign_id": self.campaign.id,
                "variable_ids": [
                    (0, 0, {"name": "city"}),
                    (0, 0, {"name": "page", "default_value": "Spring Sale"}),
                    (
                        0,
                        0,
                        {
                            "name": "size",
                            "kind": "choice",
                            "choices": "A4, A3",
                            "default_value": "A4",
                        },
                    ),
                ],
            }
        )

    @users("tf_marketer")
    def test_a_template_makes_a_link_of_every_row(self):
        template = self.template()
        sheet = self.preview(
            "city\tsize\tsource\nKöln\tA3\tposter\nGent\t\tposter\nLyon\tA9\tposter\n\t\t\nRom\t\tposter\n",
            template_id=template.id,
        )
        self.assertEqual((sheet.good_count, sheet.bad_count), (3, 1))
        self.assertEqual(sheet.line_ids.mapped("row"), [2, 3, 4, 6])
        self.assertIn("size: is not one of A4, A3", sheet.line_ids[2].error)
        links = self.make(sheet)
        self.assertEqual(
            links.sorted("id").mapped("url"),
            [
                "https://shop.example/spring-sale?city=K%C3%B6ln",
                "https://shop.example/spring-sale?city=Gent",
                "https://shop.example/spring-sale?city=Rom",
            ],
        )
        self.assertEqual(links.sorted("id")[0].title, "Poster Köln")
        self.assertEqual(links.campaign_id, self.campaign.with_env(self.env))
        self.assertEqual(links.source_id.name, "poster")
        self.assertEqual(template.link_count, 3)

    @users("tf_marketer")
    def test_a_template_is_described(self):
        template = self.template()
        with Form(template) as form:
            form.description = "For the posters of a city"
            with form.variable_ids.edit(0) as variable:
                variable.description = "As on the map"
        self.assertEqual(template.description, "For the posters of a city")
        self.assertEqual(template.variable_ids[0].description, "As on the map")

    @users("tf_marketer")
    def test_a_sheet_of_urls(self):
        sheet = self.preview(
            "name;url;campaign;code;content\n"
            "One;https://shop.example/1;TRACKFLOW spring;SheetOne;a\n"
            "Two;shop.example/2;;;\n"
            "Three;javascript:alert(1);;;\n"
            "Four;;;;\n"
            "Five;https://shop.example/5;Nobody;;\n"
            f"Six;https://shop.example/6;;{self.links[0].code};\n"
            "Seven;https://shop.example/7;;bad code;\n"
            "Eight;https://shop.example/8;;SheetOne;\n"
            "Nine;shop.example/2;;;\n"
            f"Ten;{self.links[0].short_url};;;\n"
            'Eleven;"=HYPERLINK(""x"")";;;\n'
        )
        self.assertEqual((sheet.good_count, sheet.bad_count), (2, 9))
        for number, words in enumerate(
            ("cannot be a destination", "missing", "no campaign", "taken", "cannot be a code",
             "taken", "same as row 3", "url: http", "its host contains ="), 2,
        ):  # fmt: skip
            self.assertIn(words, sheet.line_ids[number].error)
        links = self.make(sheet).sorted("title")
        self.assertEqual(links[0].code, "SheetOne")
        self.assertEqual(links[0].trackflow_content, "a")
        self.assertEqual(links[1].url, "http://shop.example/2")
        self.assertIn(links[0].short_url, sheet._links_csv())

    @users("tf_marketer")
    def test_the_same_sheet_twice_makes_no_second_links(self):
        text = "url,campaign,source\n" + "".join(
            f"https://shop.example/{n},TrackFlow Spring,sheet\n" for n in range(250)
        )
        sheet = self.preview(text)
        self.assertEqual(sheet.import_batch(), {"done": 100, "total": 250})
        links = self.make(sheet)
        self.assertEqual(len(links), 250)
        self.assertEqual(self.make(self.preview(text)), links)

    @users("tf_marketer")
    def test_rows_with_codes_or_without_a_scheme_are_found_again(self):
        text = (
            "url,campaign,source,content,code\n"
            "shop.example/1,TrackFlow Spring,Sheet,a,Again1\n"
            "shop.example/2,,,,\n"
        )
        links = self.make(self.preview(text))
        self.assertEqual(links[0].code, "Again1")
        again = self.preview(text)
        self.assertEqual(again.bad_count, 0, again.line_ids.mapped("error"))
        self.assertEqual(self.make(again), links)
        for changed in ("shop.example/3,TrackFlow Spring,Sheet,a", "shop.example/1,,Sheet,a",
                        "shop.example/1,TrackFlow Spring,Else,a"):  # fmt: skip
            sheet = self.preview(f"url,campaign,source,content,code\n{changed},Again1\n")
            self.assertIn("taken", sheet.line_ids.error, changed)

    def test_a_workbook(self):
        from openpyxl import Workbook

        book = Workbook()
        book.active.append(["URL", "Name"])
        book.active.append(["https://shop.example/x", 2026])
        buffer = io.BytesIO()
        book.save(buffer)
        sheet = self.preview(False, file=base64.b64encode(buffer.getvalue()))
        self.assertEqual(self.make(sheet).title, "2026")
        for content in (b"PK\x03\x04 no workbook", b"\0\1\2"):
            with self.assertRaises(UserError):
                self.preview(False, file=base64.b64encode(content))

    def test_a_sheet_is_refused_in_the_language_of_its_reader(self):
        self.env["res.lang"]._activate_lang("de_DE")
        self.env["ir.module.module"]._load_module_terms(["trackflow"], ["de_DE"])
        self.env = self.env(context={**self.env.context, "lang": "de_DE"})
        with self.assertRaisesRegex(UserError, "Zwei Spalten der Tabelle heißen gleich"):
            self.preview("url,url\nhttps://shop.example/a,https://shop.example/b\n")

    def test_a_csv_that_a_spreadsheet_could_run(self):
        sheet = self.preview("url,name\nhttps://shop.example/f,=1+1\n")
        self.make(sheet)
        self.assertIn("'=1+1", sheet._links_csv())

    def test_a_template_that_cannot_work_is_refused(self):
        for vals in (
            {"url_template": "https://shop.example/{nothing}"},
            {"url_template": "https://shop.example/{city"},
            {"title_template": "{city|slug}"},
            {"variable_ids": [(0, 0, {"name": "Bad Name"})]},
            {"variable_ids": [(0, 0, {"name": "n", "kind": "integer", "default_value": "x"})]},
        ):
            with self.assertRaises(ValidationError), self.env.cr.savepoint():
                self.template().write(vals)

    @users("tf_employee")
    def test_who_only_looks_makes_none(self):
        with self.assertRaises(AccessError):
            self.env["trackflow.sheet.import"].create({"target": "link.tracker"})
        with self.assertRaises(AccessError):
            self.env["trackflow.link.template"].create({"name": "x", "url_template": "y"})
        link = self.links[0].with_env(self.env)
        self.assertTrue(link.read(["short_url", "trackflow_status", "trackflow_validity"]))
        with self.assertRaises(AccessError):
            link.read(["trackflow_standing"])
