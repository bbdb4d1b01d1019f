"""User agent -> device, browser, operating system, and whether a person is behind it.

A person clicks with a browser, and a browser says which device it runs on. So a user agent is an
automaton's when it says so (a word such as "crawl", an address to ask at, a name known for it), or
when it is not built as browsers and apps build theirs. Device names come from a long tail of makers
(one sells phones called CUBOT) and are left out before anything is held against a user agent.

What each rule finds and costs is measured by `tests/benchmarks/agents.py`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property, lru_cache

import ua_parser
from user_agents import parsers

from trackflow_core.model import Agent, Verdict

MAX_LENGTH = 1024
"""Characters of a user agent that are looked at."""

# Fetched because someone shared or composed a link; the person who will read it is still to come.
_PREVIEWS = (
    *("facebookexternalhit", "facebookcatalog", "facebot", "telegrambot", "twitterbot"),
    *("linkedinbot", "slackbot", "slack-imgproxy", "discordbot", "skypeuripreview"),
    *("microsoftpreview", "redditbot", "embedly", "iframely", "vkshare", "snap url preview"),
    *("bitlybot", "google-pagerenderer", "cardyb", "flipboardproxy", "linkpreview"),
    *("link preview", "url preview", "page-preview", "mastodon/", "pinterest/0."),
    # Office looks at a link before it hands it to the browser, which then comes itself.
    *("existence discovery", "protocol discovery", "(compatible; ms-office"),
)
_PREVIEW_STARTS = ("whatsapp/", "viber", "bluesky/", "tumblr/")

# Apps that open links in a browser of their own; named to marketers as the reason.
_IN_APP = (
    *("instagram", "fban/", "fbav/", "fb_iab/", "metaiab", "messengerforios", "barcelona"),
    *("[pinterest/", "pinterest for", "musical_ly", "bytedancewebview", "tiktok", "trill_"),
    *("snapchat", "linkedinapp", "micromessenger", "twitter for", "twitterandroid", " line/"),
    *(" gsa/", "kakaotalk", "naver(", "baiduboxapp", "weibo", " qq/", "yjapp-", "viber/"),
    *("reddit/", "whatsapp/", "wechat", "bingsapp", "teams/", "xing/"),
)

# Parts of words by which automatons describe what they do or are written in.
_WORDS = (
    *("crawl", "spider", "slurp", "scrap", "fetch", "harvest", "monitor", "uptime"),
    *("check", "valid", "verif", "analy", "audit", "archiv", "inspect", "probe", "observ"),
    *("diagnos", "synthetic", "measurement", "screenshot", "snapshot", "thumbnail", "favicon"),
    *("preview", "prerender", "proxy/", "proxy;", "feed", "headless", "lighthouse", "phantomjs"),
    *("selenium", "playwright", "puppeteer", "webdriver", "httpclient", "http client", "curl/"),
    *("wget", "python", "libwww-perl", "go-http", "node-fetch", "axios", "guzzle", "httpx"),
    *("aiohttp", "postman", "httrack", "nutch", "anthropic", "openai", "cohere", "perplexity"),
)
# Automatons that dress as a browser and are known by name only. A plugin brings longer lists.
_NAMES = (
    *("mediapartners-", "google-", "googleother", "-google/", "google page speed"),
    *("google search console", "pingdom", "ptst/", "gtmetrix", "catchpoint", "appinsights"),
    *("newrelic", "datadog", "dynatrace", "site24x7", "rigor)", "iplabel", "silktide", "hotjar"),
    *("dareboost", "siteimprove", "ylt ", "cloudflare", "daumoa", "transcoder", "ia_archiver"),
    *("datanyze", "watchtowr", "foregenix", "assetnote", "zgrab", "testlocally", "manus-user"),
    *("splash version", "newsnow/", "sindup", "marketgoo", "ghost inspector", "mshots"),
    *("externalhit", "printfriendly", "w3c_validator", "browsershots", "nagios", "zabbix"),
)
_BOT = re.compile(r"bots?(?![a-rt-z])")
_AGENT = re.compile(r"agent(?![a-z])")
# People scan QR codes, with apps called after it.
_SCAN = re.compile(r"(?<!qr)(?<!qr[ _-])(?<!code)(?<!code[ _-])scan")
_HOST = re.compile(
    r"\.(?<=[a-z-]\.)(?:com|net|org|io|co|ai|dev|app|info|biz|edu|party|de|fr|uk|ru|ua|nl|eu|ch|it"
    r"|jp|cn|br|in)"
    r"(?![\w.-])"
)
# Apps carry the names of their packages, which are hosts written backwards.
_PACKAGE = re.compile(r"(?:com|org|net|io|co|me|tv|app|air|de|fr|uk|ru|jp|cn|kr|br|in|it|nl)\.")
_MAIL = re.compile(r"[\w.+-](?:@|\(at\))[\w-]+\.[a-z]{2}")
# "compatible;" is followed by a browser's name only in old browsers.
_COMPATIBLE = re.compile(
    r"compatible[;,] ?(?!msie|konqueror|linux|u;|windows|polaris|opera|ibrowse|netpos|webtv|mobile"
    r"|antgalio|ncbrowser|offbyone|risc os)[a-z]"
)
# Browsers write "(KHTML, like Gecko)" and nothing more.
_LIKE_GECKO = re.compile(r"like gecko[;,] ?(?!safari|hevc|opera)[a-z]")

# What device makers, mobile operators and apps put into user agents: the model that follows an
# Android version, Facebook's list of properties, what follows Instagram's version.
_DEVICES = re.compile(
    r"(android[ /-]?[\w.]*; ?(?:[a-z]{2}[-_][a-z]{2,4}; ?)?)[^;)]*"
    r"|\[?fb(?:an|av|_iab|4a)[/;].*"
    r"|(instagram [\d.]+ ).*"
)

# Any of these stands in the user agent of every browser and app that is not built like Mozilla's.
_HAND_DEVICES = (
    *("android", "iphone", "ipad", "ipod", "ios/", "ios ", "watchos", "windows nt", "windows ce"),
    *("windows phone", "windows mobile", "windows; u", "win98", "win10", "macintosh", "mac os"),
    *("cfnetwork", "darwin/", "midp", "cldc", "up.browser", "opera", "opr/", "ucweb"),
    *("ucbrowser", "netfront", "obigo", "hbbtv", "blackberry", "bb10", "nokia", "symb"),
    *("dalvik", "tizen", "roku", "playstation", "nintendo", "xbox", "kaios", "webos", "smart-tv"),
    *("smarttv", "adr ", "sonyericsson", "samsung", "docomo", "kddi", "j-phone", "softbank"),
    *("palm", "teleca", "openwave", "brew", "maui", "ce-html", "linux/2", "linux/3", "lynx/"),
    *("links (", "elinks", "w3m/", "netsurf", "konqueror", "amiga", "cros ", "maemo", "meego"),
    *("nettv", "openharmony", "kreatv", "wap-browser", "_browser/", "nook browser", "mosaic"),
)
_PLATFORMS = (
    *("windows", "macintosh", "mac_", "mac os", "linux", "x11", "android", "iphone", "ipad"),
    *("ipod", "cros", "tizen", "tv", "playstation", "nintendo", "symb", "blackberry", "bb10"),
    *("mobile", "tablet", "freebsd", "openbsd", "netbsd", "sunos", "amiga", "beos", "haiku"),
    *("os/2", "risc os", "win9", "win3", "winnt", "web0s", "webos", "kaios", "series", "nokia"),
    *("j2me", "midp", "hp-ux", "irix", "palm", "maemo", "meego", "qnx", "morphos", "aros"),
    *("vms", "ps3", "ps4", "xbox", "viera", "roku", "unknown;", "fuchsia", "brew", "rex;"),
    *("netfront", "smart", "astro;", "openharmony", "crkey", "konqueror", "willcom", "jig "),
)
_ENGINES = ("webkit", "gecko", "trident", "msie", "presto", "khtml", "goanna", "servo", "netfront")
# Devices whose apps leave the engine out.
_WITHOUT_ENGINE = (
    *("android", "iphone", "ipad", "ipod", "playstation", "nintendo", "smart-tv", "palmos"),
    *("brew", "hbbtv", "opera", "firefox"),
)
_INSIDE = re.compile(r"mozilla/\d\.\d ?\([^)]*(?:windows|macintosh|linux|x11|android|iphone|ipad)")
# On desktops, what follows the engine is a list of name/version; a bare word is nobody's browser.
_BARE_WORD = re.compile(
    r"mozilla/5\.0 \((?:windows|macintosh|x11)[^)]*\).*(?:"
    r"(?:safari|firefox)/[\d.]+[;,]? (?!smart-tv|silk|maemo|tablet|se 2|lbbrowser|steamdeck|qihu"
    r"|theworld)(?:\+|- |[a-z][\w.-]*(?: [a-z(][\w.)-]*)*$)"
    r"|safari/[\d.]+ (?!\(edition)\([^).]*\)$)"
)
# Chrome, Safari, Firefox and Edge exactly as they are shipped: nothing in there to judge.
_PLAIN = re.compile(
    r"mozilla/5\.0 \((?:windows nt [\d.]+; win64; x64|macintosh; intel mac os x [\d_.]+|x11; linux"
    r" x86_64|x11; cros x86_64 [\d.]+|(?:ipad|iphone); cpu (?:iphone )?os [\d_]+ like mac os x"
    r"|linux; android [\d.]+; [^;()]*(?:; wv)?)"
    r"(?:; rv:[\d.]+\) gecko/[\d.]+ firefox/[\d.]+"
    r"|\) applewebkit/[\d.]+ \(khtml, like gecko\) (?:version/[\d.]+ )?(?:chrome/[\d.]+ )?"
    r"(?:mobile(?:/[\da-z]+)? )?safari/[\d.]+(?: edg/[\d.]+)?)"
)


def classify(user_agent: str, *, prefetch: bool = False, method: str = "GET") -> Agent:
    """The agent behind a request, by the first `MAX_LENGTH` characters of its user agent.

    `prefetch` says that the request announced itself as made ahead of a person (a `Purpose` or
    `Sec-Purpose` header), `method` how it asked. A prefetch and a HEAD request are a `preview`
    unless a bot made them. Equal arguments give equal answers; the last 20,000 user agents are
    remembered.
    """
    agent = _classify(user_agent[:MAX_LENGTH])
    if agent.verdict is not Verdict.BOT:
        if prefetch:
            return replace(agent, verdict=Verdict.PREVIEW, reason="fetched ahead of a person")
        if method == "HEAD":
            return replace(agent, verdict=Verdict.PREVIEW, reason="asked for the headers only")
    return agent


def judge(user_agent: str) -> tuple[Verdict, str]:
    """The verdict on a user agent and its reason in words, without device, browser and system."""
    low = user_agent.lower().strip()
    if not low:
        return Verdict.UNKNOWN, "no user agent"
    if _PLAIN.fullmatch(low):
        return Verdict.HUMAN, "looks like a browser"
    if name := _preview(low):
        return Verdict.PREVIEW, f"link preview ({name})"
    if reason := _automaton(low) or _unlike_browsers(low):
        return Verdict.BOT, reason
    if name := _first(_IN_APP, low):
        return Verdict.HUMAN, f"in-app browser ({name.strip(' /[(-_')})"
    return Verdict.HUMAN, "looks like a browser"


def is_plain(user_agent: str) -> bool:
    """Whether this is a Chrome, Safari, Firefox or Edge that carries no other name."""
    return bool(_PLAIN.fullmatch(user_agent.lower().strip()))


def without_devices(user_agent: str) -> str:
    """`user_agent` in lower case, without what makers, operators and apps put into it."""
    return _DEVICES.sub(r"\1\2", user_agent.lower())


def _first(parts: tuple[str, ...], text: str) -> str:
    for part in parts:
        if part in text:
            return part
    return ""


def _preview(low: str) -> str:
    if low.startswith(_PREVIEW_STARTS):
        return _first(_PREVIEW_STARTS, low).strip("/")
    return _first(_PREVIEWS, low).strip("(/")


def _automaton(low: str) -> str:
    reason = _names_itself(low)
    if reason and (bare := without_devices(low)) != low:
        return _names_itself(bare)
    return reason


def _names_itself(low: str) -> str:
    if match := _BOT.search(low):
        return f"names itself a bot ({_around(low, match)[-40:]})"
    if word := _first(_WORDS, low):
        return f"names itself an automaton ({word.strip('/;')})"
    if _SCAN.search(low):
        return "names itself an automaton (scan)"
    if "://" in low or "www." in low or _names_a_host(low) or _has_mail_address(low):
        return "carries an address, as bots do and browsers do not"
    if name := _first(_NAMES, low):
        return f"known automaton ({name.strip(' /-)')})"
    if _COMPATIBLE.search(low) or _LIKE_GECKO.search(low):
        return "names a product where browsers name none"
    if _AGENT.search(low):
        return "names itself an agent"
    return ""


def _names_a_host(low: str) -> bool:
    return any(not _PACKAGE.match(_around(low, match, "-_.")) for match in _HOST.finditer(low))


def _has_mail_address(low: str) -> bool:
    return ("@" in low or "(at)" in low) and bool(_MAIL.search(low))


def _around(low: str, match: re.Match[str], also: str = "-_") -> str:
    """The whole word, of letters, digits and what is `also` allowed, that ends in a match."""
    start = match.start()
    while start and (low[start - 1].isalnum() or low[start - 1] in also):
        start -= 1
    return low[start : match.end()]


def _unlike_browsers(low: str) -> str:
    if not low.startswith("mozilla/"):
        if _first(_HAND_DEVICES, low) or _INSIDE.search(low):
            return ""
        return "names neither a browser nor a device"
    if not _first(_PLATFORMS, low):
        return "claims to be a browser but names no system"
    if low.startswith("mozilla/5") and not (_first(_ENGINES, low) or _first(_WITHOUT_ENGINE, low)):
        return "claims to be a browser but names no engine"
    if _BARE_WORD.match(low):
        return "ends as no desktop browser does"
    return ""


_BROWSER_AND_SYSTEM = ua_parser.Domain.USER_AGENT | ua_parser.Domain.OS


@lru_cache(maxsize=1)
def _engine() -> ua_parser.Resolver:
    # Without ua-parser's own cache: `_classify` remembers the whole answer.
    return ua_parser.BestAvailableResolver(ua_parser.load_lazy_builtins())


class _Parsed(parsers.UserAgent):  # type: ignore[misc]
    """user-agents' answers, from ua-parser's fastest engine and no more of it than is asked for."""

    def __init__(self, user_agent: str) -> None:
        self.ua_string = user_agent
        found = _engine()(user_agent, _BROWSER_AND_SYSTEM)
        browser, system = found.user_agent, found.os
        self.browser = parsers.parse_browser(browser.family if browser else "Other")
        self.os = (
            parsers.parse_operating_system(system.family, system.major, system.minor)
            if system
            else parsers.parse_operating_system("Other")
        )

    @cached_property
    def device(self) -> parsers.Device:
        # The list of devices is ua-parser's slowest; these say enough of themselves.
        if self.os.family == "iOS":
            family = "iPad" if "iPad" in self.ua_string else "iPhone"
            return parsers.parse_device(family, "Apple", None)
        if self.os.family == "Android":
            return parsers.parse_device("Other", None, None)
        found = _engine()(self.ua_string, ua_parser.Domain.DEVICE).device
        return parsers.parse_device(found.family if found else "Other", None, None)


@lru_cache(maxsize=20_000)
def _classify(user_agent: str) -> Agent:
    verdict, reason = judge(user_agent)
    if verdict is Verdict.UNKNOWN:
        return Agent(verdict, reason)
    parsed = _Parsed(user_agent)
    device = "other" if verdict is Verdict.BOT else _device(parsed)
    return Agent(verdict, reason, device, parsed.browser.family, parsed.os.family)


def _device(parsed: _Parsed) -> str:
    if parsed.is_pc:
        return "desktop"
    if parsed.is_tablet:
        return "tablet"
    return "mobile" if parsed.is_mobile else "other"
