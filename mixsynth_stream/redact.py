"""`redacted`: addresses without what only their owner may know, for all that is shown, logged or written."""

from __future__ import annotations

import re

_HIDDEN = "***"
# scheme://user:password@host, and scheme://token@host.
_USER = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/:@?#]*)(?P<password>:[^\s/?#]*)?@")
# ?user=a&password=b, as cameras have it.
_SECRET = re.compile(
    r"(?P<name>[?&;][^\s=&;]*(?:pass|pwd|token|secret|key|auth|sig|credential)[^\s=&;]*)=(?P<value>[^\s&;#'\"),]*)",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """A text with the passwords, tokens and keys of the addresses in it replaced by three stars."""
    if "://" not in text:
        return text
    return _SECRET.sub(rf"\g<name>={_HIDDEN}", _USER.sub(_hide, text))


def _hide(match: re.Match[str]) -> str:
    user = match["user"] if match["password"] else ""  # alone it may be a token
    return f"{match['scheme']}{user}{':' if user else ''}{_HIDDEN}@"
