"""What a person is told when a port cannot be used."""

from __future__ import annotations

import socket

import pytest

from tests.environment.failure import SetupError
from tests.environment.odoo_server import HOST, free_port, require_free


def test_a_busy_port_gets_one_sentence_with_a_way_out() -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(SetupError) as caught:
            require_free(port)
    message = str(caught.value)
    assert f"port {port} is already in use" in message
    assert f"make demo PORT={port + 1}" in message
    assert "\n" not in message


def test_a_free_port_is_accepted() -> None:
    require_free(free_port())
