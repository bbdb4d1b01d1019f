"""What `DATABASE_URL` may say."""

from __future__ import annotations

import pytest

from tests.environment.failure import SetupError
from tests.environment.postgres import server_of_url


def test_a_url_with_everything() -> None:
    server = server_of_url("postgresql://ada:p%40ss@db.example:6543/ignored")
    assert (server.host, server.port, server.user, server.password) == (
        "db.example",
        6543,
        "ada",
        "p@ss",
    )


def test_a_socket_folder() -> None:
    assert server_of_url("postgresql://ada@/x?host=/run/pg").host == "/run/pg"


def test_servers_do_not_share_odoos_files() -> None:
    one = server_of_url("postgresql://ada@one.example/")
    two = server_of_url("postgresql://ada@two.example/")
    assert one.label != two.label


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://ada@db.example/", "must look like postgresql://"),
        ("postgresql://db.example/", "must name a user"),
        ("postgresql://postgres@db.example/", "Odoo refuses to run"),
    ],
)
def test_a_url_that_cannot_work_is_explained(url: str, told: str) -> None:
    with pytest.raises(SetupError, match=told):
        server_of_url(url)
