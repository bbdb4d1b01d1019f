"""Which Debian mirror is found in which apt configuration."""

from __future__ import annotations

import pytest

from tests.environment.debian import AptSource, mirror_among, sources_of_deb822, sources_of_list


def test_one_line_sources_with_options_and_comments() -> None:
    found = sources_of_list(
        "# deb http://old.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        "deb http://vendor.example/apt stable tools # main\n"
    )
    assert found == [
        AptSource("http://mirror.example/debian/", ("bookworm",), ("main", "contrib")),
        AptSource("http://vendor.example/apt", ("stable",), ("tools",)),
    ]


def test_deb822_stanzas_with_comments_continuations_and_disabled_ones() -> None:
    found = sources_of_deb822(
        "Types: deb deb-src\n"
        "# http://snapshot.example/\n"
        "URIs: http://one.example/debian\n"
        " http://two.example/debian\n"
        "Suites: trixie trixie-updates\n"
        "Components: main\n"
        "\n"
        "Enabled: no\n"
        "Types: deb\n"
        "URIs: http://disabled.example/debian\n"
        "Suites: trixie\n"
        "Components: main\n"
        "\n"
        "Types: deb-src\n"
        "URIs: http://source.example/debian\n"
        "Suites: trixie\n"
        "Components: main\n"
    )
    suites = ("trixie", "trixie-updates")
    assert found == [
        AptSource("http://one.example/debian", suites, ("main",)),
        AptSource("http://two.example/debian", suites, ("main",)),
    ]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        pytest.param([], None, id="none"),
        pytest.param(
            [
                AptSource("http://m.example/debian-security", ("bookworm-security",), ("main",)),
                AptSource("http://m.example/debian/", ("bookworm",), ("main",)),
            ],
            "http://m.example/debian",
            id="not the security archive",
        ),
        pytest.param(
            [
                AptSource("https://vendor.example/apt", ("bookworm-vendor",), ("main",)),
                AptSource("https://proxy.example/remote/deb-main", ("bookworm",), ("main",)),
            ],
            "https://proxy.example/remote/deb-main",
            id="a proxy with a path of its own, by the release that it serves",
        ),
        pytest.param(
            [AptSource("http://archive.example/ubuntu", ("noble",), ("main", "universe"))],
            None,
            id="another distribution",
        ),
    ],
)
def test_the_main_archive_is_chosen(sources: list[AptSource], expected: str | None) -> None:
    assert mirror_among(sources) == expected
