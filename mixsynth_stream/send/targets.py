"""Target: where poses are sent, as `--send` names it."""

from __future__ import annotations

from dataclasses import dataclass

from mixsynth_stream.send import vmc, vrchat
from mixsynth_stream.viewer.web.access import Address

# The ports of programs that poses are sent to; a server of ours has the port that the user names.
_PORTS: dict[str, int | None] = {"ws": None, "vmc": vmc.PORT, "vrchat": vrchat.PORT}


@dataclass(frozen=True)
class Target:
    """A program to send to (vmc, vrchat), or an address where programs fetch poses (ws)."""

    scheme: str
    address: Address

    @classmethod
    def of(cls, text: str) -> Target:
        """`ws://[HOST:]PORT`, `vmc://HOST[:PORT]` or `vrchat://HOST[:PORT]`. Raises `ValueError`."""
        scheme, separator, place = text.partition("://")
        expected = ValueError(
            f"expected ws://[HOST:]PORT, vmc://HOST[:PORT] or vrchat://HOST[:PORT] to send poses to, found {text!r}"
        )
        if not separator or scheme not in _PORTS:
            raise expected
        try:
            address = Address.of(place.removesuffix("/"))
        except ValueError:
            raise expected from None
        port = _PORTS[scheme] if address.port is None else address.port
        if port is None or (port == 0 and scheme != "ws"):
            raise expected
        return cls(scheme, Address(address.host, port))

    def __str__(self) -> str:
        """As the user writes it."""
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return f"{self.scheme}://{host}:{self.address.port}"
