"""Templates fill URLs, and say of each row that gives none why."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.tracking.templates import Kind, Problem, Template, Variable, slug

TEXT = "https://shop.example/{page|slug}?utm_campaign={campaign|slug}&utm_content={content}"
TEMPLATE = Template(
    TEXT,
    (Variable("page", default="home"), Variable("campaign"), Variable("content", default="a b")),
)


def render(text: str, variable: Variable, value: str) -> str:
    return Template(f"https://x.example/{text}", (variable,)).render({variable.name: value})[18:]


def test_values_defaults_and_filters_make_a_url() -> None:
    assert TEMPLATE.render({"campaign": "Frühjahr & Söhne 2026!"}) == (
        "https://shop.example/home?utm_campaign=fruhjahr-sohne-2026&utm_content=a%20b"
    )
    assert TEMPLATE.render({"campaign": "x", "page": "", "content": " ü/&=#"}).endswith(
        "/home?utm_campaign=x&utm_content=%C3%BC%2F%26%3D%23"
    )


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("{v}", "A b", "A%20b"),
        ("{ v | lower }", "A b", "a%20b"),
        ("{v|upper}", "straße", "STRASSE"),
        ("{{{v}}}", "a", "{a}"),
        ("{v}{v}", "1", "11"),
        ("fixed", "1", "fixed"),
    ],
)
def test_filters_and_braces(text: str, value: str, found: str) -> None:
    assert render(text, Variable("v"), value) == found


def test_a_url_may_be_inserted_whole_or_as_a_value() -> None:
    landing = Variable("landing", Kind.URL)
    whole = Template("{landing|raw}?utm_source=mail", (landing,))
    assert whole.render({"landing": "https://x.example/a%20b"}) == (
        "https://x.example/a%20b?utm_source=mail"
    )
    assert (
        render("?to={landing}", landing, "https://y.example/") == "?to=https%3A%2F%2Fy.example%2F"
    )


@pytest.mark.parametrize(
    ("variable", "good", "bad", "reason"),
    [
        (Variable("v", Kind.SLUG), "spring-26", "Spring 26", "is not a slug"),
        (Variable("v", Kind.INTEGER), "-12", "1.5", "is not a whole number"),
        (Variable("v", Kind.DATE), "2026-02-28", "2026-02-30", "is not a date"),
        (Variable("v", Kind.DATE), "2026-03-31", "20260331", "is not a date"),
        (Variable("v", Kind.CHOICE, choices=("a", "b")), "b", "c", "is not one of a, b"),
        (Variable("v", Kind.URL), "https://x.example/", "javascript:alert(1)", "is not an http"),
        (Variable("v", pattern="[A-Z]{2}"), "DE", "DEU", "does not match"),
        (Variable("v", max_length=3), "abc", "abcd", "is longer than 3"),
        (Variable("v"), "x", "  ", "is missing"),
    ],
)
def test_variables_know_their_values(variable: Variable, good: str, bad: str, reason: str) -> None:
    assert unquote(render("{v}", variable, good)) == good
    with pytest.raises(InvalidEvent, match=f"^v: {reason}"):
        render("{v}", variable, bad)


def test_rows_are_rendered_each_for_itself() -> None:
    template = Template(
        "https://x.example/{lang}/{page|slug}",
        (Variable("lang", Kind.CHOICE, choices=("de", "en")), Variable("page")),
    )
    rows = [
        {"lang": "de", "page": "Über uns", "unused": "x"},
        {"lang": "fr"},
        {"lang": "en", "page": "日本"},
        {"lang": "en", "page": "About"},
    ]
    found = template.render_rows(rows)
    assert [item.url for item in found] == [
        "https://x.example/de/uber-uns",
        "",
        "",
        "https://x.example/en/about",
    ]
    assert found[1].problems == (
        Problem(2, "lang", "is not one of de, en"),
        Problem(2, "page", "is missing"),
    )
    assert [str(problem) for problem in found[2].problems] == [
        "Row 3, page: has no letter or digit for a slug"
    ]


def test_the_url_as_a_whole_must_be_safe() -> None:
    template = Template("{scheme}://x.example/", (Variable("scheme"),))
    assert template.render({"scheme": "https"}) == "https://x.example/"
    (found,) = template.render_rows([{"scheme": "ftp"}])
    assert str(found.problems[0]).startswith("Row 1, URL: ftp://x.example/ cannot be a destination")
    with pytest.raises(InvalidEvent, match=r"^URL: "):
        template.render({"scheme": "ftp"})


@pytest.mark.parametrize(
    ("text", "variables", "reason"),
    [
        ("{typo}", (Variable("page"),), "'typo', which is no variable.*it has: page"),
        ("{}", (), "it has: none"),
        (
            "{page|loud}",
            (Variable("page"),),
            "no filter 'loud'; use one of lower, raw, slug, upper",
        ),
        ("{page|raw}", (Variable("page"),), "Only a variable of kind 'url'"),
        ("a{page", (Variable("page"),), "single '{' at character 2"),
        ("page}", (Variable("page"),), "single '}' at character 5"),
        ("", (Variable("page"), Variable("page")), "names of their own"),
    ],
)
def test_a_template_that_cannot_work_is_refused(
    text: str, variables: tuple[Variable, ...], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        Template(text, variables)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"name": "Page"}, "'Page' cannot be a variable"),
        ({"name": "v", "kind": Kind.CHOICE}, "choices go with"),
        ({"name": "v", "choices": ("a",)}, "choices go with"),
        ({"name": "v", "pattern": "("}, "not a regular expression"),
        ({"name": "v", "kind": Kind.INTEGER, "default": "x"}, "default of the variable 'v' is not"),
    ],
)
def test_a_variable_that_cannot_work_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Variable(**settings)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Łódź—Straße, Ærø", "lodz-strasse-aero"),
        ("  --a__b--  ", "a-b"),
        ("10 % Rabatt", "10-rabatt"),
        ("日本", ""),
    ],
)
def test_slugs(text: str, found: str) -> None:
    assert slug(text) == found


@given(st.text(max_size=80))
def test_no_value_breaks_out_of_its_place(value: str) -> None:
    template = Template("https://x.example/a?b={v}&c=1#d", (Variable("v", default="-"),))
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    url = template.render({"v": value})
    inserted = url.removeprefix("https://x.example/a?b=").removesuffix("&c=1#d")
    assert not set(inserted) & set("&=#?/ ")
    assert unquote(inserted) == (value.strip() or "-")
    assert slug(slug(value)) == slug(value)
