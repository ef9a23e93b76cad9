"""Who may ask a server: under which names it is addressed, from which pages, and with which token."""

import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from bcc_lightning.errors import UserError

TOKEN_VARIABLE = "BCC_SERVE_TOKEN"  # noqa: S105 - the name of the variable
SHORTEST_TOKEN = 16
"""Fewest characters of a token that cannot be guessed."""

MAKE_TOKEN = "python -c 'import secrets; print(secrets.token_urlsafe())'"  # noqa: S105 - the command that makes one

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

OPEN = frozenset({"/", "/health", "/docs", "/openapi.json"})
"""Paths that need no token: they hold nothing of the network, and the page asks for the token itself."""


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        names: host names under which the server may be addressed; None for any. A web page of somebody else can let its own
            name lead to this machine (DNS rebinding), but it cannot change the name that the browser sends.
        token: what a request must know; None where everybody on this machine may ask.
    """

    names: frozenset[str] | None = LOOPBACK_NAMES
    token: str | None = None

    @classmethod
    def of(cls, host: str, names: Iterable[str], environment: Mapping[str, str]) -> Self:
        """Decide who may ask.

        Args:
            host: address that the server listens on.
            names: further host names under which it is addressed, such as that of a proxy before it.
            environment: variables of the process, of which `TOKEN_VARIABLE` may hold a token.

        Raises:
            UserError: others can reach the server and there is no token, or the token is too short.
        """
        token, further = environment.get(TOKEN_VARIABLE) or None, frozenset(name.lower() for name in names)
        local = is_loopback(host)
        if token is None and (not local or further):
            reached = f"--host {host}" if not local else f"--allowed_host {', '.join(sorted(further))}"
            raise UserError(
                f"{reached} lets others than this machine ask, so a token is required; make one with `{MAKE_TOKEN}`, set it as "
                f"{TOKEN_VARIABLE} in the environment, and give it to clients as `Authorization: Bearer TOKEN`"
            )
        if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
            raise UserError(
                f"{TOKEN_VARIABLE} must be {SHORTEST_TOKEN} or more ASCII characters without blanks; make one with `{MAKE_TOKEN}`"
            )
        return cls(LOOPBACK_NAMES | further | {host.lower()} if local else None, token)

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """Check a request.

        Args:
            path: of the request.
            headers: by their names in lower case.

        Raises:
            HTTPException: it is refused.
        """
        host = headers.get("host", "")
        if self.names is not None and host_name(host) not in self.names:
            raise HTTPException(
                421, f"this server is not '{host[:100]}'; it answers to {', '.join(sorted(self.names))} (see --allowed_host)"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise HTTPException(403, f"a page of '{origin[:100]}' may not use this server")
        if self.token is not None and path not in OPEN and not self._knows_token(headers.get("authorization", "")):
            raise HTTPException(401, "send the token of this server: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    def _knows_token(self, authorization: str) -> bool:
        kind, _, given = authorization.partition(" ")
        wanted = (self.token or "").encode()
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode("utf-8", "replace"), wanted)


def is_loopback(host: str) -> bool:
    """Check whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_name(host: str) -> str | None:
    """Return the name in a header ``Host`` without the port, in lower case; None where it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
