"""Another Odoo 19 for tests: as much of its JSON-2 as the connector uses, over real HTTP."""

import json
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from trackflow_odoo import STANDARD_FIELDS

_FORMAT = "%Y-%m-%d %H:%M:%S"
_UTM = ("campaign_id", "medium_id", "source_id")
_TESTS = {
    "=": lambda held, wanted: held == wanted,
    "<": lambda held, wanted: held < wanted,
    ">": lambda held, wanted: held > wanted,
    ">=": lambda held, wanted: held >= wanted,
    "in": lambda held, wanted: held in wanted,
}


class OdooDouble:
    """The database: leads by id, and the fields that were made. Each write takes a minute."""

    key = "remote-key-4711"

    def __init__(self):
        self.now = datetime.now(timezone.utc).replace(microsecond=0)
        self.leads = {}
        self.made_fields = {}
        self.writes = 0

    def save(self, number, **values):
        self.now += timedelta(minutes=1)
        self.writes += 1
        stamp = self.now.strftime(_FORMAT)
        blank = dict.fromkeys((*STANDARD_FIELDS, *_UTM, *self.made_fields), False)
        new = {**blank, "id": number, "create_date": stamp, "active": True, "type": "lead"}
        held = self.leads.get(number, {**new, "won_status": "pending", "company_currency": [1, ""]})
        self.leads[number] = {**held, **values, "write_date": stamp}

    def answer(self, model, method, told):
        return getattr(self, f"{model.replace('.', '_')}_{method}")(**told)

    def crm_lead_fields_get(self, **_told):
        names = (*STANDARD_FIELDS, "company_currency", *_UTM, *self.made_fields)
        return {name: {} for name in names}

    def crm_lead_search_read(self, domain, fields, limit, **_told):
        found = [self.leads[number] for number in self.crm_lead_search(domain)][:limit]
        return [{name: lead.get(name, False) for name in ["id", *fields]} for lead in found]

    def crm_lead_search(self, domain, **_told):
        return [
            number
            for number, lead in sorted(self.leads.items())
            if all(_TESTS[operator](lead[name], wanted) for name, operator, wanted in domain)
        ]

    def crm_lead_search_count(self, **_told):
        return len(self.leads)

    def crm_lead_read(self, ids, fields, **_told):
        return [
            {name: self.leads[number].get(name, False) for name in ["id", *fields]}
            for number in ids
            if number in self.leads
        ]

    def crm_lead_write(self, ids, vals, **_told):
        for number in ids:
            self.save(number, **vals)
        return True

    def res_company_search_read(self, **_told):
        return [{"id": 1, "name": "Elsewhere"}]

    def res_currency_search_read(self, **_told):
        return [{"id": 1, "name": "EUR", "decimal_places": 2}]

    def utm_source_search(self, **_told):
        return []

    utm_medium_search = utm_campaign_search = utm_source_search

    def mail_message_search_read(self, **_told):
        return []

    def ir_model_search(self, **_told):
        return [1]

    def ir_model_fields_create(self, vals_list, **_told):
        self.made_fields.update({vals["name"]: vals for vals in vals_list})
        return [1]

    @contextmanager
    def running(self):
        """Its address, while it listens on a free port of loopback."""
        odoo = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                _, api, *path = self.path.split("/")
                status, told = 404, {"name": "werkzeug.NotFound", "message": "Not Found"}
                if api == "json" and self.headers["Authorization"] != f"bearer {odoo.key}":
                    status, told = 401, {"name": "odoo.AccessDenied", "message": "Invalid apikey"}
                elif api == "json":
                    status, told = 200, odoo.answer(*path[1:], json.loads(body))
                content = json.dumps(told).encode()
                self.send_response_only(status)
                present = odoo.now + timedelta(minutes=1)
                self.send_header("Date", format_datetime(present, usegmt=True))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
