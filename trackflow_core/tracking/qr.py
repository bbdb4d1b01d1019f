"""QR codes of tracked links as PNG and SVG."""

from __future__ import annotations

from io import BytesIO

import qrcode
from qrcode.image.svg import SvgPathImage


def png(text: str, *, box_size: int = 10) -> bytes:
    """A QR code of `text` as PNG, `box_size` pixels a module, error correction level M."""
    buffer = BytesIO()
    _code(text, box_size).make_image().save(buffer)
    return buffer.getvalue()


def svg(text: str) -> bytes:
    """A QR code of `text` as one SVG path, to be scaled at will."""
    buffer = BytesIO()
    _code(text, 10).make_image(image_factory=SvgPathImage).save(buffer)
    return buffer.getvalue()


def _code(text: str, box_size: int) -> qrcode.QRCode:
    code = qrcode.QRCode(
        error_correction=qrcode.constants.ERROR_CORRECT_M, box_size=box_size, border=4
    )
    code.add_data(text)
    return code
