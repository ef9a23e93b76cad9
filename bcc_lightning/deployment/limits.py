"""How much a server takes on: sizes of requests and images, cells that wait, seconds; and who holds to it."""

import asyncio
import os
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bcc_lightning.deployment.access import Access
from bcc_lightning.errors import UserError

MEGABYTE = 2**20

RETRY_SECONDS = 1
"""After how many seconds a client that was turned away may try again."""

BODIES_AT_ONCE = 8
"""Bodies of the largest size that may be in memory at once; many more small ones fit."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer; an answer may have its own policy instead."""


@dataclass(frozen=True)
class Limits:
    """What a server refuses.

    Attributes:
        body: most bytes of a request.
        images: most images of a request.
        pixels: most pixels of an image; a single cell needs far fewer.
        queue: most images that are read or wait for the network, of all requests together.
        seconds: after which a request is given up, from its first byte to its answer.
        maps: most images of a request that wants maps, which cost more than a prediction.
        threads: images that are decoded at once.

    Raises:
        UserError: a value is not allowed.
    """

    body: int = 64 * MEGABYTE
    images: int = 256
    pixels: int = 16_000_000
    queue: int = 1024
    seconds: float = 60.0
    maps: int = 16
    threads: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))

    def __post_init__(self) -> None:
        """Refuse limits with which nothing could be answered."""
        for name in ("body", "images", "pixels", "queue", "seconds"):
            if not getattr(self, name) > 0:
                raise UserError(f"--max_{name} is {getattr(self, name)}; it must be above 0")
        if self.queue < self.images:
            raise UserError(
                f"--max_queue is {self.queue}, but one request may have {self.images} images; raise it to {self.images} or more, "
                "or lower --max_images"
            )


def busy(why: str) -> HTTPException:
    """Describe why a request is turned away for now."""
    return HTTPException(503, f"the server is busy: {why}; try again shortly", {"Retry-After": str(RETRY_SECONDS)})


class Guard:
    """Middleware that lets in what `Access` allows, holds requests to `Limits`, and adds `HEADERS` to the answers.

    Args:
        app: the application.
        limits: limits of size and time.
        access: who may ask.
    """

    def __init__(self, app: ASGIApp, limits: Limits, access: Access) -> None:
        self.app = app
        self.limits = limits
        self.access = access
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it before its body is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        guarded, headers = GuardedRequest(self, receive, send, Headers(scope=scope)), Headers(scope=scope)
        try:
            self.access.check(scope["path"], headers)
            if int(headers.get("content-length", 0)) > self.limits.body:
                raise self.too_large()
            async with asyncio.timeout(self.limits.seconds):
                await self.app(scope, guarded.receive, guarded.send)
        except (TimeoutError, HTTPException) as error:
            if guarded.is_answered:
                raise
            refusal = error if isinstance(error, HTTPException) else self.too_late()
            response = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
            await response(scope, receive, guarded.send)
        finally:
            self.held -= guarded.size

    def too_large(self) -> HTTPException:
        """Refuse a body."""
        largest = f"{self.limits.body / MEGABYTE:g} MB"
        return HTTPException(413, f"the request has more than {largest}; send the images in several requests")

    def too_late(self) -> HTTPException:
        """Describe that a request took too long."""
        advice = "send fewer images at once, or raise --max_seconds of the server"
        return HTTPException(504, f"no answer within {self.limits.seconds:g} s; {advice}")


class GuardedRequest:
    """A request whose body is counted while it comes, with or without a length beforehand.

    Attributes:
        size: bytes that have come.
        is_answered: whether the answer has begun.
    """

    def __init__(self, guard: Guard, receive: Receive, send: Send, headers: Headers) -> None:
        self._guard = guard
        self._receive = receive
        self._send = send
        self._has_more = "transfer-encoding" in headers or int(headers.get("content-length", 0)) > 0
        self.size = 0
        self.is_answered = False

    async def receive(self) -> Message:
        """Receive a part of the body.

        Raises:
            HTTPException: it is too large, or there is no memory for it now.
        """
        message, guard = await self._receive(), self._guard
        self._has_more = self._has_more and bool(message.get("more_body"))
        part = len(message.get("body", b""))
        self.size, guard.held = self.size + part, guard.held + part
        if self.size > guard.limits.body:
            raise guard.too_large()
        if guard.held > BODIES_AT_ONCE * guard.limits.body:
            raise busy("it is reading as many images as fit into its memory")
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.is_answered = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._has_more:
                headers["Connection"] = "close"  # otherwise the rest of the body would be received and thrown away
        await self._send(message)
