"""Who may see the page: names, origins and the token."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from mixsynth_stream.viewer.web.access import Access, Address


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        (None, "127.0.0.1", None, True),
        ("8000", "127.0.0.1", 8000, True),
        ("localhost:9", "localhost", 9, True),
        ("[::1]:80", "::1", 80, True),
        ("::1", "::1", None, True),
        ("0.0.0.0", "0.0.0.0", None, False),
        ("::", "::", None, False),
        ("192.168.1.7:8000", "192.168.1.7", 8000, False),
        ("my-machine.local", "my-machine.local", None, False),
    ],
)
def test_addresses(text: str | None, host: str, port: int | None, is_loopback: bool) -> None:
    address = Address.of(text)
    assert (address.host, address.port, address.is_loopback) == (host, port, is_loopback)


@pytest.mark.parametrize("text", ["", ":", ":80", "a:b", "a:", "host:70000", "70000", "http://host:80", "a b", "u@h:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected PORT, HOST or HOST:PORT"):
        Address.of(text)


LOOPBACK = Access.to(Address())


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost:8420", "[::1]:8420", "localhost", "127.0.0.1:9999"])
def test_loopback_needs_no_token(host: str) -> None:
    assert LOOPBACK.token is None
    assert LOOPBACK.refusal("/stream", {"Host": host, "Origin": f"http://{host}"}, watches=True) is None
    assert LOOPBACK.refusal("/", {"Host": host}, watches=False) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example:8420", "127.0.0.1.evil.example", "0.0.0.0:8420", "192.168.1.7:8420", "localhost.", "", "[::1"],
)
def test_another_name_for_loopback_is_refused(host: str) -> None:
    """A site may let its own name point to this machine: then its page has the very origin that it asks."""
    refusal = LOOPBACK.refusal("/stream", {"Host": host, "Origin": f"http://{host}"}, watches=True)
    assert refusal is not None
    assert refusal[0] == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:8420",
        "http://127.0.0.1",
        "http://127.0.0.1:8421",
        "http://localhost:8420",
        "http://127.0.0.1:8420.evil.example",
        "null",
        "",
        None,
    ],
)
def test_a_page_of_another_origin_may_not_watch(origin: str | None) -> None:
    headers = {"Host": "127.0.0.1:8420"} | ({} if origin is None else {"Origin": origin})
    refusal = LOOPBACK.refusal("/stream", headers, watches=True)
    assert refusal is not None
    assert refusal[0] == HTTPStatus.FORBIDDEN
    # Who opens the page itself sends no origin.
    assert (LOOPBACK.refusal("/", headers, watches=False) is None) == (origin is None)


def test_beyond_loopback_the_token_is_needed() -> None:
    access = Access.to(Address.of("0.0.0.0:8420"))
    assert access.token is not None
    assert len(access.token) >= 24
    assert Access.to(Address.of("0.0.0.0:8420")).token != access.token
    assert access.token not in repr(access)
    headers = {"Host": "192.168.1.7:8420", "Origin": "http://192.168.1.7:8420"}
    assert access.refusal(f"/stream?token={access.token}", headers, watches=True) is None
    for target in (
        "/stream",
        "/stream?token=",
        f"/stream?token={access.token}x",
        "/stream?token=%C3%A4",
        "/stream?Token=1",
    ):
        refusal = access.refusal(target, headers, watches=True)
        assert refusal is not None
        assert refusal[0] == HTTPStatus.UNAUTHORIZED
    # The token does not make up for a foreign page or name.
    foreign = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert access.refusal(f"/stream?token={access.token}", foreign, watches=True) is not None
    assert access.refusal(f"/stream?token={access.token}", headers | {"Origin": "http://a.b"}, watches=True) is not None
