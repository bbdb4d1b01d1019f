"""QR codes: what they contain, how they look, and what cameras could not read."""

from __future__ import annotations

from io import BytesIO
from xml.etree import ElementTree

import pytest
from PIL import Image

from trackflow_core.errors import InvalidEvent
from trackflow_core.tracking import qr, urls

URL = "https://x.example/r/abc"


def _image(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def _logo(size: tuple[int, int] = (40, 20)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, "#ff0000").save(buffer, "PNG")
    return buffer.getvalue()


def test_png_has_the_wanted_width_and_colours() -> None:
    image = _image(qr.png(URL, size=300, color="#112233", background="#fafafa"))
    assert image.size == (300, 300)
    colours = {colour for _, colour in image.getcolors() or ()}
    assert colours == {(0x11, 0x22, 0x33), (0xFA, 0xFA, 0xFA)}


def test_the_logo_lies_in_the_middle() -> None:
    image = _image(qr.png(URL, size=400, logo=_logo()))
    assert image.getpixel((200, 200)) == (255, 0, 0)
    assert image.getpixel((2, 2)) == (255, 255, 255)


def test_svg_has_as_many_dark_modules_as_the_png() -> None:
    root = ElementTree.fromstring(qr.svg(URL, color="#112233"))  # noqa: S314 - our own picture
    [path] = root.iter("{http://www.w3.org/2000/svg}path")
    assert path.get("fill") == "#112233"
    image = _image(qr.png(URL, box_size=1))
    dark = sum(count for count, colour in image.getcolors() or () if colour == (0, 0, 0))
    assert (path.get("d") or "").count("M") == dark


def test_svg_carries_the_logo() -> None:
    assert b"data:image/png;base64," in qr.svg(URL, logo=_logo())
    assert b"<image" not in qr.svg(URL)


@pytest.mark.parametrize(
    ("color", "background"),
    [("#ffffff", "#000000"), ("#eeeeee", "#ffffff"), ("red", "#ffffff"), ("#000000", '#"/><x')],
)
def test_colours_that_no_camera_reads_are_refused(color: str, background: str) -> None:
    with pytest.raises(InvalidEvent):
        qr.png(URL, color=color, background=background)
    with pytest.raises(InvalidEvent):
        qr.svg(URL, color=color, background=background)


@pytest.mark.parametrize("logo", [b"no image", _logo((5000, 1))])
def test_a_logo_must_be_an_image(logo: bytes) -> None:
    with pytest.raises(InvalidEvent):
        qr.png(URL, logo=logo)


def test_a_scan_is_told_from_a_click() -> None:
    assert urls.scan_url(URL) == f"{URL}?qr"
    assert urls.take_scan_mark("qr") == (True, "")
    assert urls.take_scan_mark("qr=&gclid=A%2Fb") == (True, "gclid=A%2Fb")
    for query in ("", "qr=1", "a=1&qr", "qrx"):
        assert urls.take_scan_mark(query) == (False, query)
