"""Access: who may see the page. A camera in somebody's room must not be shown to any other web site."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8420
# The token of servers that programs on other machines have to know beforehand; without it there is a new one each run.
TOKEN_VARIABLE = "MIXSYNTH_STREAM_TOKEN"
_LEAST_TOKEN = 16
_HOST = re.compile(r"[\w.:%-]+")
# What a browser is told with every answer: nothing from elsewhere, no frame around the page, no copy on disk.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the address may hold the token
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Address:
    """Where the page is served. `port` is None where any free one will do."""

    host: str = LOOPBACK
    port: int | None = None

    @classmethod
    def of(cls, text: str | None) -> Address:
        """The address of `PORT`, `HOST` or `HOST:PORT`, with IPv6 in brackets; None: loopback. Raises `ValueError`."""
        if text is None:
            return cls()
        if text.isdigit():
            host, port = LOOPBACK, text
        elif ":" not in text or text.endswith("]") or _is_ip(text):
            host, port = text, None
        else:
            host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not _HOST.fullmatch(host) or (port is not None and not (port.isdecimal() and int(port) < 65536)):
            raise ValueError(f"expected PORT, HOST or HOST:PORT with a port up to 65535, found {text!r}")
        return cls(host, None if port is None else int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        return _is_loopback(self.host)


@dataclass(frozen=True)
class Access:
    """The rules for one server. Beyond loopback whoever watches needs the `token`."""

    address: Address
    token: str | None = field(default=None, repr=False)

    @classmethod
    def to(cls, address: Address) -> Access:
        """The rules for an address. Raises `ValueError` where the user's own token is too short to keep anybody out."""
        token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(18)
        if not address.is_loopback and len(token) < _LEAST_TOKEN:
            raise ValueError(
                f"{TOKEN_VARIABLE} must have {_LEAST_TOKEN} characters or more, found {len(token)}: take a longer one"
            )
        return cls(address, None if address.is_loopback else token)

    def refusal(
        self, target: str, headers: Mapping[str, str], *, watches: bool, is_for_programs: bool = False
    ) -> tuple[HTTPStatus, str] | None:
        """Why a request is refused, or None. One that `watches` gets to see people.

        `headers` has `Host`, which a browser takes from the address that it was told to open, and `Origin`, which tells
        whose page asks: a page of another site has another origin, and one that had its own name point here (DNS
        rebinding) has another host. Browsers tell the origin of all that opens a WebSocket, so that what has none is a
        program, which may have what `is_for_programs`.
        """
        host = headers.get("Host", "")
        if not self._is_own(host):
            return (
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this page is not served under the name {host!r}: open it by address",
            )
        origin = headers.get("Origin")
        is_for_pages = watches and not is_for_programs
        if origin != f"http://{host}" and (origin is not None or is_for_pages):
            return HTTPStatus.FORBIDDEN, f"a page of {origin or 'unknown origin'} may not watch: open this server's own"
        if watches and self.token is not None and not self._has_token(target, headers):
            return (
                HTTPStatus.UNAUTHORIZED,
                "the token is missing or wrong: open the address that the program has printed",
            )
        return None

    def _is_own(self, host: str) -> bool:
        """Whether a `Host` names this server: an address of it, or a name that no other site can have.

        The port may be another one, because people forward ports.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if self.address.is_loopback:
            return _is_loopback(name)
        own_name = socket.gethostname().lower()
        return _is_ip(name) or name in ("localhost", self.address.host.lower(), own_name, f"{own_name}.local")

    def _has_token(self, target: str, headers: Mapping[str, str]) -> bool:
        """Whether the address has it, as that of a page, or the header with which programs mostly send theirs."""
        tokens = parse_qs(urlsplit(target).query).get("token", [])
        tokens.append(headers.get("Authorization", "").removeprefix("Bearer "))
        return any(hmac.compare_digest(token.encode(), (self.token or "").encode()) for token in tokens)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)
