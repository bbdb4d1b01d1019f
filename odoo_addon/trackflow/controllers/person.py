from odoo import http
from odoo.http import content_disposition, request


class PersonController(http.Controller):
    @http.route("/trackflow/visitors/<string:ids>/export.json", type="http", auth="user")
    def export_visitors(self, ids):
        """Everything that is held of these visitors, for them."""
        wanted = [int(part) for part in ids.split(",") if part.isdecimal()]
        visitors = request.env["trackflow.visitor"].browse(wanted).exists()
        return _file(visitors._trackflow_export(), "visitor.json")

    @http.route("/trackflow/privacy/<int:wizard_id>/export.json", type="http", auth="user")
    def export_person(self, wizard_id):
        """Everything that is held of the person whom a privacy lookup found."""
        wizard = request.env["privacy.lookup.wizard"].browse(wizard_id).exists()
        if not wizard:
            raise request.not_found()
        wizard.check_access("read")
        return _file(wizard._trackflow_export(), "person.json")


def _file(content, name):
    return request.make_response(
        content,
        [
            ("Content-Type", "application/json; charset=utf-8"),
            ("Content-Disposition", content_disposition(name)),
            ("Cache-Control", "no-store"),
        ],
    )
