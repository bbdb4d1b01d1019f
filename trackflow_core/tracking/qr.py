"""QR codes of tracked links as PNG and SVG, in colours and with a logo."""

from __future__ import annotations

import base64
import re
from io import BytesIO

import qrcode
from PIL import Image, UnidentifiedImageError

from trackflow_core.errors import InvalidEvent

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_BORDER = 4
# Cameras need dark on light, and more difference than a reader does.
_CONTRAST = 3.0
# Level H mends 30 % of the modules; a logo of a fifth of the width covers 4 % of them.
_LOGO_SHARE = 0.2
_LOGO_PIXELS = 4096


def png(
    text: str,
    *,
    box_size: int = 10,
    size: int = 0,
    color: str = "#000000",
    background: str = "#ffffff",
    logo: bytes = b"",
) -> bytes:
    """A QR code of `text` as PNG.

    `size` is the width in pixels, 0 for `box_size` pixels a module. `color` and `background` are
    hexadecimal such as "#714b67". `logo` is an image that is laid over the middle. Error
    correction is level M, with a logo level H.

    Raises InvalidEvent when cameras could not read the colours, or the logo is no image.
    """
    _check_colours(color, background)
    code = _code(text, box_size, bool(logo))
    image = code.make_image(fill_color=color, back_color=background).get_image().convert("RGB")
    if size:
        image = image.resize((size, size), Image.Resampling.NEAREST)
    if logo:
        side = round(image.width * _LOGO_SHARE)
        picture = _picture(logo)
        picture.thumbnail((side, side))
        place = ((image.width - picture.width) // 2, (image.height - picture.height) // 2)
        image.paste(picture, place, picture)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def svg(
    text: str, *, color: str = "#000000", background: str = "#ffffff", logo: bytes = b""
) -> bytes:
    """A QR code of `text` as SVG, to be scaled at will; see `png`."""
    _check_colours(color, background)
    matrix = _code(text, 1, bool(logo)).get_matrix()
    width = len(matrix)
    runs = "".join(
        f"M{column} {row}h1v1h-1z"
        for row, modules in enumerate(matrix)
        for column, dark in enumerate(modules)
        if dark
    )
    over = ""
    if logo:
        buffer = BytesIO()
        _picture(logo).save(buffer, "PNG")
        side = width * _LOGO_SHARE
        place = (width - side) / 2
        data = base64.b64encode(buffer.getvalue()).decode()
        over = (
            f'<image x="{place:g}" y="{place:g}" width="{side:g}" height="{side:g}" '
            f'href="data:image/png;base64,{data}"/>'
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {width}" '
        'shape-rendering="crispEdges">'
        f'<rect width="{width}" height="{width}" fill="{background}"/>'
        f'<path d="{runs}" fill="{color}"/>{over}</svg>\n'
    ).encode()


def _code(text: str, box_size: int, covered: bool) -> qrcode.QRCode:
    level = qrcode.constants.ERROR_CORRECT_H if covered else qrcode.constants.ERROR_CORRECT_M
    code = qrcode.QRCode(error_correction=level, box_size=box_size, border=_BORDER)
    code.add_data(text)
    return code


def _picture(logo: bytes) -> Image.Image:
    try:
        picture = Image.open(BytesIO(logo))
        if max(picture.size) > _LOGO_PIXELS:
            raise InvalidEvent(f"The logo is wider or higher than {_LOGO_PIXELS} pixels.")
        return picture.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InvalidEvent("The logo is not an image: use PNG or JPEG.") from error


def _check_colours(color: str, background: str) -> None:
    for name in (color, background):
        if not _COLOUR.match(name):
            raise InvalidEvent(f"{name:.20} is not a colour: write it like #714b67.")
    dark, light = _luminance(color), _luminance(background)
    if (light + 0.05) / (dark + 0.05) < _CONTRAST:
        raise InvalidEvent(
            f"Cameras could not read {color} on {background}: "
            "take a dark colour on a light background."
        )


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
