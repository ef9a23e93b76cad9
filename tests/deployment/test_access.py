"""Who may ask: names of hosts, pages of others, tokens."""

import pytest
from starlette.exceptions import HTTPException

from bcc_lightning.deployment.access import TOKEN_VARIABLE, Access, host_name, is_loopback
from bcc_lightning.errors import UserError

TOKEN = "a-token-of-twenty-6-letters"
WITH_TOKEN = {TOKEN_VARIABLE: TOKEN}


def status(access: Access, path: str = "/predict", **headers: str) -> int:
    """Return the status of the refusal; 200 where there is none."""
    try:
        access.check(path, headers)
    except HTTPException as refusal:
        return refusal.status_code
    return 200


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9", "localhost", "[::1]:8000", "LOCALHOST:80"])
def test_this_machine_may_ask(host: str) -> None:
    assert status(Access.of("127.0.0.1", [], {}), host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "localhost.evil.example:8000", "10.0.0.5:8000"]
)
def test_names_that_lead_here_from_elsewhere_are_refused(host: str) -> None:
    assert status(Access.of("127.0.0.1", [], {}), host=host) == 421


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:8000", 200),
        ("http://localhost:9000", 403),  # another program on this machine
        ("http://evil.example", 403),
        ("https://localhost.evil.example:8000", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_pages_of_others_are_refused(origin: str, expected: int) -> None:
    assert status(Access(), host="localhost:8000", origin=origin) == expected


def test_a_proxy_offers_the_server_under_its_own_name() -> None:
    access = Access.of("127.0.0.1", ["Cells.Hospital.example"], WITH_TOKEN)
    given = {"host": "cells.hospital.example", "origin": "https://cells.hospital.example", "authorization": f"Bearer {TOKEN}"}
    assert status(access, **given) == 200
    assert status(access, **{**given, "host": "other.example"}) == 421


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer", 401),
        ("Bearer ünicode", 401),
        ("", 401),
    ],
)
def test_a_token_is_wanted(authorization: str, expected: int) -> None:
    access = Access.of("0.0.0.0", [], WITH_TOKEN)
    assert status(access, host="any.name", authorization=authorization) == expected
    assert status(access, host="any.name", path="/") == status(access, host="any.name", path="/health") == 200
    assert status(access, host="any.name", path="/model") == 401


@pytest.mark.parametrize(("host", "names"), [("0.0.0.0", []), ("::", []), ("10.1.2.3", []), ("127.0.0.1", ["cells.example"])])
def test_nobody_else_reaches_a_server_without_a_token(host: str, names: list[str]) -> None:
    with pytest.raises(UserError, match="lets others than this machine ask, so a token is required; make one with"):
        Access.of(host, names, {})


@pytest.mark.parametrize("token", ["short", "a b" * 20, "ü" * 20])
def test_tokens_that_can_be_guessed_or_not_be_sent_are_refused(token: str) -> None:
    with pytest.raises(UserError, match="must be 16 or more ASCII characters without blanks"):
        Access.of("127.0.0.1", [], {TOKEN_VARIABLE: token})


def test_addresses_of_this_machine() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.0.1", "cells.example"]))
    assert [host_name(host) for host in ("[::1]:80", "a.b:9", "[::1")] == ["::1", "a.b", None]
