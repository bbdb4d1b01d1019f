from odoo import http
from odoo.http import content_disposition, request


class QrController(http.Controller):
    @http.route("/trackflow/link/<int:link_id>/qr.<any(png,svg):form>", type="http", auth="user")
    def download_qr(self, link_id, form):
        """A tracked link's QR code as a file."""
        link = request.env["link.tracker"].browse(link_id).exists()
        if not link:
            raise request.not_found()
        link.check_access("read")
        content = link._trackflow_qr_png() if form == "png" else link._trackflow_qr_svg()
        return request.make_response(
            content,
            [
                ("Content-Type", "image/png" if form == "png" else "image/svg+xml"),
                ("Content-Disposition", content_disposition(f"qr-{link.code}.{form}")),
            ],
        )

    @http.route("/trackflow/sheet/<int:sheet_id>/links.csv", type="http", auth="user")
    def download_links(self, sheet_id):
        """The links that an import has made, as CSV."""
        sheet = request.env["trackflow.sheet.import"].browse(sheet_id).exists()
        if not sheet or sheet.target != "link.tracker":
            raise request.not_found()
        sheet.check_access("read")
        return request.make_response(
            sheet._links_csv().encode("utf-8-sig"),
            [
                ("Content-Type", "text/csv; charset=utf-8"),
                ("Content-Disposition", content_disposition("links.csv")),
            ],
        )
