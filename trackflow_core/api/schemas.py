"""The shapes of the API's JSON. Each field has a description and an example, from which
openapi.json, its examples and the messages of refusals are made.

Money is an integer in the minor unit of its currency (cents for EUR). Moments are ISO 8601 with a
zone; answers tell them in UTC.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

# What databases cannot keep.
_CLEAN = r"^[^\x00]*$"
_LINE = r"^[^\x00-\x1f\x7f]*$"
_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f]+$"
_PAGE = r"^$|^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x1f\x7f]+$"
_CODE = r"^[A-Za-z0-9_-]+$"
_LANGUAGE = r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$"
_ADDRESS = "an address that begins with http:// or https://, without spaces"
# What a value must be, for people who do not read regular expressions.
IN_WORDS = {
    _CLEAN: "text without the character NUL",
    _LINE: "one line of text, without control characters",
    _URL: _ADDRESS,
    f"^$|{_URL}": f"{_ADDRESS}, or nothing",
    _PAGE: f"{_ADDRESS.partition(',')[0]}, on one line, or nothing",
    _CODE: "letters a to z, digits, - and _ only",
    r"^[A-Za-z0-9_-]*$": "letters a to z, digits, - and _ only",
    r"^[A-Za-z0-9_.:-]*$": "letters a to z, digits, - _ . and : only",
    r"^[a-z][a-z0-9_]{0,63}$": "a small letter, then small letters, digits and _, 64 in all",
    r"^[\x21-\x7e]+$": "visible ASCII characters, without spaces",
    r"^[\x21-\x7e]*$": "visible ASCII characters, without spaces",
    r"^[A-Z]{3}$": "the three capital letters of a currency, such as EUR",
    r"^([A-Z]{3})?$": "the three capital letters of a currency, such as EUR, or nothing",
    r"^[A-Z]{2}$": "the two capital letters of a country, such as DE",
    _LANGUAGE: "a language such as de or pt-BR, or nothing",
    r"^[0-9a-f]{32}$": "32 digits 0 to 9 and a to f",
    r"^([0-9a-f]{32})?$": "32 digits 0 to 9 and a to f, or nothing",
    r"^[0-9A-Fa-f:.]*$": "an IP address",
}
# What databases of 64 bits can keep.
MAX_MONEY = 9_000_000_000_000_000
# In characters: of a page, of what a browser calls itself.
MAX_URL = 4096
MAX_AGENT = 2048
_YEARS = range(1970, 2200)


def _as_text(value: object) -> object:
    if not isinstance(value, (str, date)):
        raise ValueError("a string in ISO 8601")
    return value


def _near(value: Any) -> Any:
    if value.year not in _YEARS:
        raise ValueError(f"a year from {_YEARS.start} to {_YEARS.stop - 1}")
    return value


_DATE = r"^(19[7-9][0-9]|20[0-9]{2}|21[0-9]{2})-[0-9]{2}-[0-9]{2}"
Moment = Annotated[
    AwareDatetime,
    Field(strict=False),
    BeforeValidator(_as_text),
    AfterValidator(_near),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _DATE}),
]
Day = Annotated[
    date,
    Field(strict=False),
    BeforeValidator(_as_text),
    AfterValidator(_near),
    WithJsonSchema({"type": "string", "format": "date", "pattern": f"{_DATE}$"}),
]
When = Day | Moment
Line = Annotated[str, Field(max_length=255, pattern=_LINE)]
Prose = Annotated[str, Field(max_length=4000, pattern=_CLEAN)]
Url = Annotated[str, Field(max_length=MAX_URL, pattern=_URL)]
Code = Annotated[str, Field(min_length=1, max_length=64, pattern=_CODE)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Money = Annotated[int, Field(ge=-MAX_MONEY, le=MAX_MONEY)]
Ref = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
VisitorId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Body(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Answer(BaseModel):
    """What the API answers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_serialization_defaults_required=True
    )


class QueryOf(BaseModel):
    """The parameters of a query string."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(QueryOf):
    limit: int = Field(50, ge=1, le=200, description="How many items a page holds at most.")
    cursor: str = Field(
        "",
        max_length=200,
        pattern=_LINE,
        description="`next` of the page before.",
    )


class SearchQuery(PageQuery):
    search: Line = Field(
        "", description="A part of a name, whatever its case.", examples=["spring"]
    )


class Span(QueryOf):
    since: Moment | None = Field(
        None, description="The earliest moment, included.", examples=["2026-03-01T00:00:00Z"]
    )
    until: Moment | None = Field(
        None, description="The latest moment, not included.", examples=["2026-04-01T00:00:00Z"]
    )


class SpanQuery(PageQuery, Span):
    pass


class TouchQuery(SpanQuery):
    link: Line = Field("", description="A link's short code.", examples=["spr2026"])
    campaign: Line = Field("", description="A campaign's name.", examples=["spring"])
    visitor: str = Field(
        "", description="A visitor's id.", pattern=r"^([0-9a-f]{32})?$", examples=["a" * 32]
    )


# -- campaigns ---------------------------------------------------------------------------------


class Campaign(Body):
    name: Line = Field(
        min_length=1,
        description="The unique name; it stands in `utm_campaign`.",
        examples=["spring"],
    )
    title: Line = Field("", description="The title for people.", examples=["Spring sale"])
    description: Prose = Field("", description="Anything worth knowing.", examples=["Shoes only."])
    budget: int = Field(
        0, ge=0, le=MAX_MONEY, description="The budget in minor units.", examples=[100000]
    )
    currency: str = Field(
        "",
        pattern=r"^([A-Z]{3})?$",
        description="The budget's currency (ISO 4217); the host's own where it is left out.",
    )
    starts: Day | None = Field(None, description="The first day.", examples=["2026-03-01"])
    ends: Day | None = Field(None, description="The last day.", examples=["2026-03-31"])


class CampaignAnswer(Answer):
    id: str = Field(description="The id in addresses.", examples=["7"])
    name: str = Field(examples=["spring"])
    title: str = Field(examples=["Spring sale"])
    description: str = Field(examples=["Shoes only."])
    budget: int = Field(description="In minor units.", examples=[100000])
    currency: str = Field(examples=["EUR"])
    starts: date | None = Field(examples=["2026-03-01"])
    ends: date | None = Field(examples=["2026-03-31"])


# -- links -------------------------------------------------------------------------------------


class Variant(Body):
    name: Line = Field(min_length=1, description="The variant's name.", examples=["B"])
    destination: Url = Field(
        description="Where its clicks go.", examples=["https://shop.example/offer-b"]
    )
    weight: int = Field(
        1, ge=0, le=10000, description="How many parts of the clicks it gets.", examples=[1]
    )


class Rule(Body):
    """Sends the clicks that meet all conditions elsewhere."""

    destination: Url = Field(
        description="Where its clicks go.", examples=["https://shop.example/de"]
    )
    device: Literal["", "desktop", "mobile", "tablet"] = Field(
        "", description="The kind of device.", examples=["mobile"]
    )
    language: str = Field(
        "",
        max_length=35,
        pattern=_LANGUAGE,
        description="The visitor's language.",
        examples=["de-AT"],
    )
    countries: list[Annotated[str, Field(pattern=r"^[A-Z]{2}$")]] = Field(
        [], max_length=250, description="Countries in two letters.", examples=[["AT", "DE"]]
    )
    query: dict[Annotated[str, Field(min_length=1, max_length=255, pattern=_LINE)], Line] = Field(
        {},
        max_length=20,
        description="Parameters of the request; an empty value stands for any.",
        examples=[{"ref": "partner"}],
    )
    since: Day | None = Field(None, description="The first day.", examples=["2026-03-01"])
    until: Day | None = Field(None, description="The last day.", examples=["2026-03-31"])


class LinkState(Body):
    """What can be changed of a link."""

    destination: Url = Field(
        description="Where clicks go.", examples=["https://shop.example/offer"]
    )
    title: Line = Field("", description="The title for people.", examples=["Offer of the week"])
    source: Line = Field("", description="`utm_source`.", examples=["newsletter"])
    medium: Line = Field("", description="`utm_medium`.", examples=["email"])
    campaign: Line = Field(
        "",
        description="`utm_campaign`; a campaign that does not exist yet is made.",
        examples=["spring"],
    )
    content: Line = Field("", description="`utm_content`.", examples=["header"])
    term: Line = Field("", description="`utm_term`.", examples=["shoes"])
    status: Literal["active", "paused", "archived"] = Field(
        "active", description="Whether it leads anywhere.", examples=["active"]
    )
    starts: When | None = Field(
        None, description="The first day, or a moment.", examples=["2026-03-01"]
    )
    ends: When | None = Field(
        None, description="The last day, or the moment of its end.", examples=["2026-12-31"]
    )
    fallback: str = Field(
        "",
        max_length=MAX_URL,
        pattern=rf"^$|{_URL}",
        description="Where clicks go while the link is out of use.",
        examples=["https://shop.example/"],
    )
    language: str = Field(
        "",
        max_length=35,
        pattern=_LANGUAGE,
        description="The language of `destination`.",
        examples=["en"],
    )
    variants: list[Variant] = Field([], max_length=20, description="Sides of an A/B test.")
    rules: list[Rule] = Field([], max_length=50, description="The first that is met decides.")


class Link(LinkState):
    code: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")] = Field(
        "", description="The short code; one is chosen where it is left out.", examples=["spr2026"]
    )


class LinkAnswer(Answer):
    code: str = Field(examples=["spr2026"])
    short_url: str = Field(
        description="What people click.", examples=["https://go.example/r/spr2026"]
    )
    destination: str = Field(examples=["https://shop.example/offer"])
    title: str = Field(examples=["Offer of the week"])
    source: str = Field(examples=["newsletter"])
    medium: str = Field(examples=["email"])
    campaign: str = Field(examples=["spring"])
    content: str = Field(examples=["header"])
    term: str = Field(examples=["shoes"])
    status: str = Field(examples=["active"])
    starts: str | None = Field(description="The first day, or a moment.", examples=["2026-03-01"])
    ends: str | None = Field(description="The last day, or a moment.", examples=["2026-12-31"])
    fallback: str = Field(examples=["https://shop.example/"])
    language: str = Field(examples=["en"])
    variants: list[Variant]
    rules: list[Rule]
    created_at: datetime | None = Field(examples=["2026-03-01T09:00:00Z"])
    clicks: int = Field(description="Clicks of people.", examples=[12])
    visitors: int = Field(description="How many people clicked.", examples=[9])
    last_click_at: datetime | None = Field(examples=["2026-03-02T10:15:00Z"])


class Links(Body):
    links: list[Link] = Field(
        min_length=1, max_length=500, description="All of them are made, or none."
    )


class LinksAnswer(Answer):
    items: list[LinkAnswer]


class StatsAnswer(Answer):
    clicks: int = Field(description="Clicks of people.", examples=[12])
    visitors: int = Field(description="How many people clicked.", examples=[9])
    conversions: int = Field(description="Conversions with such a last touch.", examples=[2])
    ignored: int = Field(description="Hits of bots, previews and staff.", examples=[3])
    last_click_at: datetime | None = Field(examples=["2026-03-02T10:15:00Z"])
    days: dict[str, int] = Field(description="Clicks by day (UTC).", examples=[{"2026-03-02": 12}])
    channels: dict[str, int] = Field(examples=[{"Email": 12}])
    devices: dict[str, int] = Field(examples=[{"mobile": 7, "desktop": 5}])
    browsers: dict[str, int] = Field(examples=[{"Firefox": 12}])


# -- templates -----------------------------------------------------------------------------------


class Variable(Body):
    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,63}$", description="The name in braces.", examples=["page"]
    )
    kind: Literal["text", "slug", "integer", "date", "choice", "url"] = Field(
        "text", description="What values must be.", examples=["slug"]
    )
    default: Line = Field("", description="The value of rows that give none.", examples=["home"])
    choices: list[Annotated[str, Field(min_length=1, max_length=255, pattern=_LINE)]] = Field(
        [], max_length=200, description="The allowed values of a choice.", examples=[[]]
    )
    pattern: Line = Field("", description="A regular expression for values.", examples=[""])
    max_length: int = Field(255, ge=1, le=4096, description="The longest value.", examples=[40])


class Template(Body):
    name: Line = Field(min_length=1, description="The unique name.", examples=["Landing pages"])
    text: str = Field(
        min_length=1,
        max_length=MAX_URL,
        pattern=_LINE,
        description="The URL with variables in braces.",
        examples=["https://shop.example/{page}?ref=mail"],
    )
    description: Prose = Field("", description="Anything worth knowing.", examples=["For mails."])
    variables: list[Variable] = Field([], max_length=50, description="The variables.")


class TemplateAnswer(Answer):
    id: str = Field(examples=["3"])
    name: str = Field(examples=["Landing pages"])
    text: str = Field(examples=["https://shop.example/{page}?ref=mail"])
    description: str = Field(examples=["For mails."])
    variables: list[Variable]


class TemplateLinks(Body):
    """Links from rows of values."""

    rows: list[dict[Line, Line]] = Field(
        min_length=1,
        max_length=500,
        description="The variables' values by name, one row for each link.",
        examples=[[{"page": "shoes"}, {"page": "hats"}]],
    )
    title: Line = Field("", description="The title of each link.", examples=["Spring mail"])
    source: Line = Field("", description="`utm_source`.", examples=["newsletter"])
    medium: Line = Field("", description="`utm_medium`.", examples=["email"])
    campaign: Line = Field("", description="`utm_campaign`.", examples=["spring"])


# -- journeys ------------------------------------------------------------------------------------


class SourceAnswer(Answer):
    channel: str = Field(examples=["Email"])
    source: str = Field(examples=["newsletter"])
    medium: str = Field(examples=["email"])
    campaign: str = Field(examples=["spring"])
    content: str = Field(examples=["header"])
    term: str = Field(examples=["shoes"])


class EventAnswer(SourceAnswer):
    id: str = Field(description="The event's id.", examples=["0f3a5c"])
    type: str = Field(description="What happened.", examples=["click"])
    data: dict[str, Any] | None = Field(description="Its own properties.", examples=[None])
    occurred_at: datetime = Field(examples=["2026-03-02T10:15:00Z"])
    link: str = Field(description="The short code.", examples=["spr2026"])
    visitor: str | None = Field(examples=["a" * 32])
    session: str | None = Field(examples=["0f3a5c"])
    url: str = Field(description="Where it led.", examples=["https://shop.example/offer"])
    referrer: str = Field(examples=["https://mail.example/"])
    device: str = Field(examples=["mobile"])
    browser: str = Field(examples=["Firefox"])
    os: str = Field(examples=["Android"])
    verdict: str = Field(description="Who it was.", examples=["human"])
    counts: bool = Field(description="Whether it is a person from outside.", examples=[True])


class Event(Body):
    """Something that a visitor did, told by the site's own server."""

    id: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.:-]*$")] = Field(
        "",
        description="Unique for ever, so that it may be sent again; one is chosen where it is "
        "left out.",
        examples=["order-17"],
    )
    type: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,63}$",
        description='"click", "page_view", or a name of your own.',
        examples=["signup"],
    )
    occurred_at: Moment | None = Field(
        None,
        description="Now where it is left out, or still to come.",
        examples=["2026-03-02T10:15:00Z"],
    )
    visitor: str = Field(
        "", pattern=r"^([0-9a-f]{32})?$", description="A visitor's id.", examples=["a" * 32]
    )
    # Links that were brought along from elsewhere have all kinds of codes.
    link: Line = Field(
        "", description="The short code that was clicked; only of a click.", examples=[""]
    )
    url: str = Field(
        "",
        max_length=MAX_URL,
        pattern=_PAGE,
        description="The page, or where a click led.",
        examples=["https://shop.example/signup"],
    )
    referrer: str = Field(
        "", max_length=MAX_URL, pattern=_LINE, description="Where the visitor came from."
    )
    user_agent: str = Field("", max_length=MAX_AGENT, pattern=_LINE, description="The visitor's.")
    address: str = Field(
        "",
        max_length=64,
        pattern=r"^[0-9A-Fa-f:.]*$",
        description="The visitor's IP address; it is anonymised before it is kept.",
        examples=["198.51.100.7"],
    )
    internal: bool = Field(
        False, description="Whether it came from your own networks.", examples=[False]
    )
    prefetch: bool = Field(
        False, description="Whether a browser asked ahead of a person.", examples=[False]
    )
    consent: Literal["full", "session", "aggregate"] = Field(
        "full", description="How much may be kept of this visitor.", examples=["full"]
    )
    data: dict[Line, Any] = Field(
        {}, max_length=500, description="Its own properties.", examples=[{"plan": "team"}]
    )


class Events(Body):
    events: list[Event] = Field(min_length=1, max_length=500, description="In any order.")


class EdgeSettings(Answer):
    visitor_keys: list[str] = Field(
        description="What signs visitor ids, the current key last. Keep them secret.",
        examples=[["bm90IGEga2V5"]],
    )
    own_hosts: list[str] = Field(
        description="Hosts of your own, which are no referrers.", examples=[["shop.example"]]
    )


class EdgeQuery(QueryOf):
    limit: int = Field(500, ge=1, le=1000, description="About how many links to tell.")
    cursor: str = Field(
        "", max_length=200, pattern=_LINE, description="`next` of the answer before."
    )


class LinkCopy(Answer):
    """A link with all that decides where a click goes."""

    code: str = Field(examples=["spr2026"])
    destination: str = Field(examples=["https://shop.example/offer"])
    source: str = Field(examples=["newsletter"])
    medium: str = Field(examples=["email"])
    campaign: str = Field(examples=["spring"])
    content: str = Field(examples=["header"])
    term: str = Field(examples=["shoes"])
    status: str = Field(examples=["active"])
    starts: str | None = Field(description="The first day, or a moment.", examples=["2026-03-01"])
    ends: str | None = Field(description="The last day, or a moment.", examples=["2026-12-31"])
    zone: str = Field(description="Whose midnight counts for days.", examples=["Europe/Berlin"])
    fallback: str = Field(examples=["https://shop.example/"])
    language: str = Field(examples=["en"])
    variants: list[Variant]
    rules: list[Rule]


class EdgeLinks(Answer):
    items: list[LinkCopy]
    next: str = Field(description="The cursor to go on with.", examples=["17.41"])
    more: bool = Field(description="Whether the next part is ready now.", examples=[False])


class EventsAccepted(Answer):
    accepted: int = Field(description="How many wait to be recorded.", examples=[1])


class TouchAnswer(SourceAnswer):
    id: str = Field(examples=["0f3a5c"])
    kind: str = Field(examples=["click"])
    occurred_at: datetime = Field(examples=["2026-03-02T10:15:00Z"])
    link: str = Field(description="The short code.", examples=["spr2026"])
    visitor: str = Field(examples=["a" * 32])


class SessionAnswer(SourceAnswer):
    id: str = Field(examples=["0f3a5c"])
    started_at: datetime = Field(examples=["2026-03-02T10:15:00Z"])
    ended_at: datetime = Field(examples=["2026-03-02T10:25:00Z"])
    hits: int = Field(examples=[2])
    device: str = Field(examples=["mobile"])
    browser: str = Field(examples=["Firefox"])
    os: str = Field(examples=["Android"])


class VisitorAnswer(Answer):
    id: str = Field(examples=["a" * 32])
    first_seen: datetime = Field(examples=["2026-03-02T10:15:00Z"])
    last_seen: datetime = Field(examples=["2026-03-02T10:25:00Z"])
    clicks: int = Field(examples=[2])
    first: SourceAnswer = Field(description="Where the first click came from.")


class VisitorJourney(Answer):
    visitor: str = Field(examples=["a" * 32])
    sessions: list[SessionAnswer]
    events: list[EventAnswer]
    leads: list[str] = Field(description="References of leads.", examples=[["api/L-17"]])


class ConversionAnswer(Answer):
    ref: str = Field(description="The lead's or deal's reference.", examples=["api/D-7"])
    kind: str = Field(description='"lead" or "won".', examples=["won"])
    occurred_at: datetime = Field(examples=["2026-03-12T12:00:00Z"])
    value: int = Field(description="In minor units.", examples=[25000])
    currency: str = Field(examples=["EUR"])
    touch: TouchAnswer | None = Field(description="The last touch before it.")


# -- leads and deals -------------------------------------------------------------------------------


class Lead(Body):
    """A lead as it is now; a field that is left out is empty."""

    occurred_at: Moment | None = Field(
        None,
        description="When this state was true; now where it is left out, or still to come.",
        examples=["2026-03-10T09:30:00Z"],
    )
    created_at: Moment | None = Field(
        None, description="When the lead came in.", examples=["2026-03-10T09:30:00Z"]
    )
    name: Line = Field("", description="The lead's title.", examples=["Asks for shoes"])
    contact_name: Line = Field("", description="The person.", examples=["Anna Ash"])
    email: Line = Field("", description="The person's address.", examples=["anna@mail.example"])
    phone: Line = Field("", description="The person's number.", examples=["+1 555 0100"])
    company: Line = Field("", description="The person's company.", examples=["Ash & Sons"])
    visitor_token: Annotated[str, Field(max_length=1000, pattern=_LINE)] = Field(
        "", description="The token that the tracker put into the form."
    )
    visitor_cookie: Annotated[str, Field(max_length=1000, pattern=_LINE)] = Field(
        "", description="The value of the visitor's cookie `trackflow_vid`."
    )
    visitors: list[VisitorId] = Field(
        [], max_length=100, description="Ids of visitors who are this lead.", examples=[["a" * 32]]
    )


class LeadAnswer(Answer):
    ref: str = Field(examples=["api/L-17"])
    occurred_at: datetime = Field(examples=["2026-03-10T09:30:00Z"])
    created_at: datetime = Field(examples=["2026-03-10T09:30:00Z"])
    name: str = Field(examples=["Asks for shoes"])
    contact_name: str = Field(examples=["Anna Ash"])
    email: str = Field(examples=["anna@mail.example"])
    phone: str = Field(examples=["+1 555 0100"])
    company: str = Field(examples=["Ash & Sons"])
    visitors: list[str] = Field(examples=[["a" * 32]])


class Deal(Body):
    """A deal as it is now."""

    lead: Ref = Field(description="The reference of the lead it came from.", examples=["L-17"])
    value: Money = Field(description="In minor units of `currency`.", examples=[25000])
    currency: Currency = Field(description="ISO 4217.", examples=["EUR"])
    status: Literal["open", "won", "lost"] = Field(
        "open", description="Where it stands.", examples=["won"]
    )
    occurred_at: Moment | None = Field(
        None,
        description="When this state was true; now where it is left out, or still to come.",
        examples=["2026-03-12T12:00:00Z"],
    )
    created_at: Moment | None = Field(
        None, description="When the deal came to be.", examples=["2026-03-11T08:00:00Z"]
    )
    closed_at: Moment | None = Field(
        None, description="When it was won or lost.", examples=["2026-03-12T12:00:00Z"]
    )
    name: Line = Field("", description="The deal's title.", examples=["Forty pairs"])


class DealAnswer(Answer):
    ref: str = Field(examples=["api/D-7"])
    lead: str = Field(examples=["api/L-17"])
    name: str = Field(examples=["Forty pairs"])
    value: int = Field(description="In minor units.", examples=[25000])
    currency: str = Field(examples=["EUR"])
    digits: int = Field(description="Decimal places of the currency.", examples=[2])
    status: str = Field(examples=["won"])
    occurred_at: datetime = Field(examples=["2026-03-12T12:00:00Z"])
    created_at: datetime = Field(examples=["2026-03-11T08:00:00Z"])
    closed_at: datetime | None = Field(examples=["2026-03-12T12:00:00Z"])


class Journey(Answer):
    ref: str = Field(examples=["api/D-7"])
    touches: list[TouchAnswer]


class AttributionQuery(QueryOf):
    model: Line = Field(
        "",
        description="A model's name; the deal's own where it is left out.",
        examples=["linear"],
    )


class CreditAnswer(SourceAnswer):
    touch: str | None = Field(examples=["0f3a5c"])
    kind: str = Field(examples=["click"])
    occurred_at: datetime | None = Field(examples=["2026-03-02T10:15:00Z"])
    position: str = Field(examples=["only"])
    weight: float = Field(description="For display; values are exact.", examples=[1.0])
    value: int = Field(description="In minor units.", examples=[25000])


class FitAnswer(Answer):
    """What the fit of a rule that learns was made of."""

    # Fits gain fields with what rules learn.
    model_config = ConfigDict(extra="allow")

    version: int = Field(examples=[1])
    fitted_at: datetime = Field(examples=["2026-03-11T02:00:00Z"])
    journeys: int = Field(description="How many it learned from.", examples=[5200])
    conversions: int = Field(description="How many of them ended in one.", examples=[410])
    weights: dict[str, int] = Field(
        description="By channel; only proportions matter.", examples=[{"Email": 3, "Direct": 1}]
    )
    unseen: int = Field(description="The weight of any other channel.", examples=[2])
    enough: bool = Field(description="Whether that is enough to rely on.", examples=[True])
    note: str = Field(description="What it rests on, in a sentence.", examples=["410 conversions."])


class AttributionAnswer(Answer):
    """The receipt of one deal."""

    # Receipts gain fields with what rules tell of themselves.
    model_config = ConfigDict(extra="allow")

    deal: str = Field(examples=["api/D-7"])
    value: int = Field(description="In minor units.", examples=[25000])
    currency: str = Field(examples=["EUR"])
    digits: int = Field(examples=[2])
    model: str = Field(examples=["linear"])
    rule: str = Field(examples=["linear"])
    rule_version: str = Field(examples=["1"])
    rule_description: str = Field(examples=["Every touch earns the same."])
    parameters: dict[str, str] = Field(examples=[{}])
    channel_rules: list[dict[str, Any]] = Field(examples=[[]])
    lookback_seconds: int = Field(examples=[7776000])
    anchor: datetime = Field(examples=["2026-03-11T08:00:00Z"])
    anchor_kind: str = Field(examples=["created"])
    milestones: dict[str, datetime | None] | None = Field(examples=[None])
    fit: FitAnswer | None = Field(
        None, description="What a rule that learns took.", examples=[None]
    )
    credits: list[CreditAnswer]
    sum: int = Field(examples=[25000])
    digest: str = Field(
        description="SHA-256 of all inputs; equal inputs give equal digests.", examples=["0" * 64]
    )


class LeadAttribution(Answer):
    ref: str = Field(examples=["api/L-17"])
    deals: list[AttributionAnswer]


class ModelAnswer(Answer):
    name: str = Field(examples=["linear"])
    rule: str = Field(examples=["linear"])
    rule_version: str = Field(examples=["1"])
    title: str = Field(description="The rule's title.", examples=["Linear"])
    description: str = Field(examples=["Every touch earns the same."])
    parameters: dict[str, str] = Field(examples=[{}])
    lookback_days: float = Field(examples=[90.0])
    anchor: str = Field(examples=["created"])


class ModelsAnswer(Answer):
    items: list[ModelAnswer]


class CompareQuery(Span):
    model: list[Line] = Field(
        min_length=1,
        max_length=10,
        description="Names of models; repeat the parameter.",
        examples=[["linear", "last_touch"]],
    )


class CampaignComparison(Answer):
    campaign: str | None = Field(description="null for deals without a touch.", examples=["spring"])
    currency: str = Field(examples=["EUR"])
    digits: int = Field(examples=[2])
    values: dict[str, int] = Field(
        description="In minor units by model.", examples=[{"linear": 25000, "last_touch": 25000}]
    )
    ranks: dict[str, int] = Field(examples=[{"linear": 1, "last_touch": 1}])
    intervals: dict[str, tuple[int, int]] = Field(
        description="Between which amounts the revenue lies nine times of ten, in minor units by "
        "model; a model is left out where there were too few deals to tell.",
        examples=[{"linear": [20000, 31000]}],
    )
    spread: int = Field(examples=[0])
    rank_spread: int = Field(examples=[0])


class ComparisonAnswer(Answer):
    models: list[str] = Field(examples=[["linear", "last_touch"]])
    campaigns: list[CampaignComparison]


# -- webhooks --------------------------------------------------------------------------------------


_Event = Literal[
    "click.recorded",
    "lead.attributed",
    "deal.attributed",
    "conversion.recorded",
    "link.created",
    "link.changed",
    "link.deleted",
]


class WebhookEndpoint(Body):
    url: Url = Field(
        description="Where messages are sent.", examples=["https://hooks.example/trackflow"]
    )
    events: list[_Event] = Field(
        min_length=1,
        max_length=50,
        description="The types of messages that are wanted.",
        examples=[["lead.attributed", "deal.attributed"]],
    )
    description: Line = Field("", description="Whose it is.", examples=["Data warehouse"])
    enabled: bool = Field(True, description="Whether messages are sent.", examples=[True])


class WebhookEndpointAnswer(Answer):
    id: str = Field(examples=["5"])
    url: str = Field(examples=["https://hooks.example/trackflow"])
    events: list[str] = Field(examples=[["deal.attributed", "lead.attributed"]])
    description: str = Field(examples=["Data warehouse"])
    enabled: bool = Field(examples=[True])
    problem: str = Field(description="Why it was disabled, in words.", examples=[""])


class WebhookSecretAnswer(WebhookEndpointAnswer):
    secret: str | None = Field(
        description="Signs messages; shown this once, null when the request is repeated.",
        examples=["whsec_" + "A" * 43 + "="],
    )


class Replay(Body):
    """Which messages are sent again, under their ids."""

    since: Moment = Field(
        description="When the first of them was created.", examples=["2026-03-12T00:00:00Z"]
    )
    until: Moment | None = Field(
        None, description="Before when; now where it is left out.", examples=[None]
    )
    failed_only: bool = Field(False, description="Only those that were given up.", examples=[True])


class MessageQuery(SpanQuery):
    status: Literal["", "waiting", "sent", "failed"] = Field(
        "", description="What became of the message.", examples=["failed"]
    )
    event: Literal["", "trackflow.test"] | _Event = Field(
        "", description="The type of the message.", examples=["deal.attributed"]
    )


class WebhookMessage(Answer):
    id: str = Field(
        description="What the receiver gets as `webhook-id`, the same at each attempt.",
        examples=["msg_0123456789abcdef0123456789abcdef"],
    )
    endpoint: str = Field(description="The endpoint's id.", examples=["5"])
    event: str = Field(description="Its type.", examples=["deal.attributed"])
    status: Literal["waiting", "sent", "failed"] = Field(
        description="Whether it waits for an attempt, was accepted, or was given up.",
        examples=["waiting"],
    )
    attempts: int = Field(
        description="How often it was tried since it was made or replayed.", examples=[2]
    )
    created_at: datetime = Field(examples=["2026-03-12T09:30:00Z"])
    next_attempt_at: datetime | None = Field(
        description="When it is tried next; null unless it waits. A disabled endpoint's waits on.",
        examples=["2026-03-12T09:35:00Z"],
    )
    delivered_at: datetime | None = Field(
        description="When the receiver last accepted it.", examples=[None]
    )
    problem: str = Field(
        description="Why the last attempt failed, in words.",
        examples=["The receiver answered 503."],
    )


class WebhookMessageAnswer(WebhookMessage):
    data: dict[str, Any] = Field(
        description="What it tells, as the receiver gets it in `data`.",
        examples=[{"ref": "api/D-9", "value": "1200.00", "currency": "EUR"}],
    )


class MessagesWaiting(Answer):
    waiting: int = Field(description="How many messages will be sent.", examples=[1])


# -- privacy ---------------------------------------------------------------------------------------


class Subject(Body):
    """Whom it is about: a visitor, or the person of a lead."""

    visitor: str = Field(
        "", pattern=r"^([0-9a-f]{32})?$", description="A visitor's id.", examples=["a" * 32]
    )
    lead: Annotated[str, Field(max_length=255, pattern=r"^[\x21-\x7e]*$")] = Field(
        "", description="A lead's reference; its visitors are meant.", examples=["L-17"]
    )


class PersonAnswer(Answer):
    visitors: list[VisitorJourney]
    leads: list[LeadAnswer]
    deals: list[DealAnswer]


class ErasedAnswer(Answer):
    visitors: list[str] = Field(description="The visitors that were erased.", examples=[["a" * 32]])


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """An example of `model` from those of its fields."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if info.examples:
            found[name] = info.examples[0]
        elif nested := _models_in(info.annotation):
            example = example_of(nested[0])
            found[name] = [example] if _is_list(info.annotation) else example
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    parts: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return [model for part in parts for model in _models_in(part)]


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list
