"""Short codes, UTM parameters, click ids, and destinations that survive byte for byte.

A stored destination is never parsed and written again: it is only cut at "#" and "?" and joined,
so that order, blanks and encoding stay as the marketer wrote them.

Collision rule of the pass-through: what the marketer stored wins. First the stored query, then the
link's own UTM parameters, then the visitor's parameters; a name that is already there (compared
decoded, UTM names without regard to case) is not added again, though a visitor may repeat a name
of their own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from posixpath import normpath
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

from trackflow_core.errors import InvalidEvent

# No 0/O, 1/l/I: people read codes aloud and type them from print.
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
UTM_FIELDS = ("source", "medium", "campaign", "term", "content")
CLICK_IDS = (
    "gclid",
    "wbraid",
    "gbraid",
    "dclid",
    "fbclid",
    "msclkid",
    "ttclid",
    "li_fat_id",
    "twclid",
    "ScCid",
    "rdt_cid",
    "epik",
    "yclid",
)
# What a QR code adds to its link, so that a scan can be told from a click.
SCAN_MARK = "qr"
MAX_QUERY = 8192
_MAX_UTM = 255
# Of each parameter that is saved from a query that is too long.
_MAX_PIECE = 1024
# ASCII that no host name has.
_NO_HOST = re.compile(r"[!-$&-,/:-@\[-^`{-~]")
_SAFE_QUERY = re.compile(rb"[!-~]*")


def new_code(length: int = 7, choose: Callable[[str], str] = secrets.choice) -> str:
    """A short code of `length` characters from the system's secure random source."""
    return "".join(choose(ALPHABET) for _ in range(length))


def scan_url(short_url: str) -> str:
    """What the QR code of a short URL contains: the URL with the mark of a scan."""
    return f"{short_url}?{SCAN_MARK}"


def take_scan_mark(query: str) -> tuple[bool, str]:
    """Whether the raw `query` of a request begins with the mark of a scan, and what else it has."""
    first, _, rest = query.partition("&")
    # Some scanners write "qr=".
    if first.rstrip("=") == SCAN_MARK:
        return True, rest
    return False, query


def safe_destination(url: str) -> str:
    """`url` unchanged, when it is one that a redirect may lead to.

    Raises InvalidEvent unless it is an absolute http or https URL with a host, which has no space
    or mark that host names lack, and without control characters.
    """
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in url):
        raise InvalidEvent("The destination contains control characters: remove them.")
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise InvalidEvent(f"{url:.80} is not a valid URL.") from None
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise InvalidEvent(
            f"{url:.80} cannot be a destination: it must begin with http:// or https://."
        )
    if any(character.isspace() for character in host):
        raise InvalidEvent(f"{url:.80} cannot be a destination: its host contains a space.")
    # A formula such as =HYPERLINK("...") is taken for a host where a scheme is put before it.
    odd = _NO_HOST.search(host)
    if odd and ":" not in host:
        raise InvalidEvent(
            f"{url:.80} cannot be a destination: its host contains {odd[0]}, which no host name has."
        )
    return url


def is_short_url(url: str, bases: Iterable[str]) -> bool:
    """Whether a visitor of `url` would come to a short link of ours.

    `bases` are what our short URLs begin with, such as "https://go.example/r/". It does not matter
    whether http or https is asked for: web servers lead from one to the other.
    """
    host, port, path = _place(url)
    return any(
        (host, port) == (own_host, own_port) and path.startswith(own_path) and path != own_path
        for own_host, own_port, own_path in map(_place, bases)
    )


def _place(url: str) -> tuple[str, int | None, str]:
    """Host, port (None for the usual ones) and path of `url` as a web server sees them."""
    try:
        parts = urlsplit(url.strip().replace("\\", "/"))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", None, ""
    with suppress(UnicodeError):
        host = host.encode("idna").decode()
    path = unquote(parts.path)
    folder = "/" if path.endswith("/") else ""
    # normpath keeps two slashes at the beginning.
    path = f"/{normpath(path).lstrip('/')}".rstrip("/") + folder
    return host.lower().rstrip("."), None if port in (80, 443) else port, path


def build_destination(
    stored: str, utm: Mapping[str, str] | None = None, incoming_query: str = ""
) -> str:
    """Where a click goes: `stored`, then missing UTM parameters, then the visitor's own.

    `utm` maps names of `UTM_FIELDS` to values. `incoming_query` is the raw query string of the
    request; of one over `MAX_QUERY` characters only UTM parameters and click ids are passed on.
    A parameter that hides a NUL is dropped, since databases behind the destination refuse it.
    """
    base, hash_mark, fragment = stored.partition("#")
    path, question_mark, stored_query = base.partition("?")
    present = {_key(piece) for piece in _pieces(stored_query)}
    own = [
        f"utm_{name}={quote_plus(value)}"
        for name, value in (utm or {}).items()
        if value and f"utm_{name}" not in present
    ]
    present |= {_key(piece) for piece in own}
    visitors = [
        _printable(piece) for piece in _passed_on(incoming_query) if _key(piece) not in present
    ]
    added = "&".join(own + visitors)
    if not added:
        return stored
    if not question_mark:
        glue = "?"
    elif stored_query and not stored_query.endswith("&"):
        glue = "&"
    else:
        glue = ""
    return f"{path}{question_mark}{stored_query}{glue}{added}{hash_mark}{fragment}"


def parse_utm(url: str) -> dict[str, str]:
    """The UTM fields in `url`'s query, by their names without prefix.

    Names are compared without regard to case, the last of repeated ones wins, values are trimmed
    and cut at 255 characters. Values that are an unfilled template macro, such as `{campaignid}`,
    are ignored.
    """
    found: dict[str, str] = {}
    for name, value in query_pairs(url):
        field = name.lower().removeprefix("utm_")
        if name.lower().startswith("utm_") and field in UTM_FIELDS:
            value = value.strip()[:_MAX_UTM]
            if value and not (value[0] in "{[<" and value[-1] in "}]>"):
                found[field] = value
    return found


def parse_click_ids(url: str) -> dict[str, str]:
    """The ad networks' click ids in `url`'s query, by parameter name."""
    known = {name.lower(): name for name in CLICK_IDS}
    return {
        known[name.lower()]: value[:_MAX_UTM]
        for name, value in query_pairs(url)
        if name.lower() in known and value
    }


def raw_query(sent: bytes) -> str:
    """A request's query string as the visitor sent it; bytes that no header may carry are
    percent-encoded."""
    if _SAFE_QUERY.fullmatch(sent):
        return sent.decode("ascii")
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E else f"%{byte:02X}" for byte in sent)


def header_safe(url: str) -> str:
    """`url` as a `Location` header may carry it; one that is ASCII already stays as it is.

    A host of other letters is written in IDNA, all else percent-encoded as UTF-8.
    """
    if url.isascii() and " " not in url:
        return url
    host = urlsplit(url).hostname or ""
    if not host.isascii():
        # A host without an ASCII form is encoded like the rest, and leads nowhere as it did before.
        with suppress(UnicodeError):
            url = url.replace(host, host.encode("idna").decode(), 1)
    return "".join(char if "!" <= char <= "~" else quote(char) for char in url)


def query_pairs(url: str) -> Iterable[tuple[str, str]]:
    """The decoded query parameters of `url` in order; undecodable bytes become U+FFFD."""
    query = url.partition("#")[0].partition("?")[2]
    for piece in _pieces(query):
        name, _, value = piece.partition("=")
        yield _decoded(name), _decoded(value).replace("\0", "")


def _pieces(query: str) -> Sequence[str]:
    return [piece for piece in query.split("&") if piece]


def _passed_on(query: str) -> Iterable[str]:
    pieces = [piece for piece in _pieces(query) if "%00" not in piece and "\0" not in piece]
    if len(query) <= MAX_QUERY:
        return pieces
    marketing = {*(f"utm_{name}" for name in UTM_FIELDS), *CLICK_IDS}
    return [piece for piece in pieces if _key(piece) in marketing and len(piece) <= _MAX_PIECE]


def _decoded(text: str) -> str:
    # Most names and values are plain, and decoding is the dearest step of classifying a click.
    return unquote_plus(text) if "%" in text or "+" in text else text


def _key(piece: str) -> str:
    name = unquote_plus(piece.partition("=")[0])
    return name.lower() if name.lower().startswith("utm_") else name


def _printable(piece: str) -> str:
    # What may not stand in a header is encoded; all else stays as the visitor sent it.
    return "".join(
        character
        if "!" <= character <= "~" and character not in '"<>\\^`{|}#'
        else quote_plus(character)
        for character in piece
    )
