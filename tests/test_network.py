"""A server that answers, one that does not, and one whose name is unknown."""

import socket

import pytest

from bcc_lightning.network import check_connection


def test_a_server_is_reached_while_it_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_connection("127.0.0.1", port, 5.0)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b""  # disconnected without a word
    with pytest.raises(ConnectionRefusedError):
        check_connection("127.0.0.1", port, 5.0)


def test_a_name_that_is_not_known_is_not_reached() -> None:
    with pytest.raises(socket.gaierror):
        check_connection("nowhere.invalid", 80, 5.0)
