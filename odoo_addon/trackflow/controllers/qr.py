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
