"""What every request has to pass before the engine hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmgraph.serve.answers import refuse
from mmgraph.serve.limits import Buckets, Limits, may_be_called

API = "/api/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}


class Guard:
    """Passes on the requests that are small, rare and patient enough, and called by a name that is ours.

    A body is read here, before its request goes on, and never beyond the limit: what is too large is thrown away as it
    comes. Requests to the API wait for one of ``at_once`` places, and those for whom there is no room to wait are told
    to come back.

    Args:
        app: Where they go.
        limits: What is allowed.
        names: By which the server may be called.
        any_address: Whether it may be called by any address.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, names: Collection[str], any_address: bool = False) -> None:
        self.app, self.limits, self.names, self.any_address = app, limits, names, any_address
        self.buckets = Buckets(rate=limits.rate, burst=limits.burst, clients=limits.clients)
        self.places = asyncio.Semaphore(limits.at_once)
        self.inside = 0  # at a place, or waiting for one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is None and scope["path"].startswith(API):
            await self._admit(scope, receive, send)
        else:
            await (refusal or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not may_be_called(host, self.names, any_address=self.any_address):
            return refuse(403, f"Host must be one of {sorted(self.names)}, got {host[:80]!r}")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return refuse(403, f"Origin must be this server's own page, got {origin[:80]!r}")
        if wait_s := self.buckets.wait_s((scope.get("client") or ("unknown",))[0]):
            what = f"One client may ask {self.limits.rate:g} times a second, and {self.limits.burst} times at once"
            return refuse(429, what, wait_s=wait_s)
        return None

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.inside >= self.limits.at_once + self.limits.waiting:
            await refuse(503, f"{self.inside} requests are at work or waiting already", wait_s=1)(scope, receive, send)
            return
        self.inside += 1
        try:
            if await self._place():
                try:
                    await self._answer(scope, receive, send)
                finally:
                    self.places.release()
            else:
                what = f"A request waits at most {self.limits.answer_s:g} s for its turn"
                await refuse(503, what, wait_s=self.limits.answer_s)(scope, receive, send)
        finally:
            self.inside -= 1

    async def _place(self) -> bool:
        """Whether there was a place in time."""
        try:
            async with asyncio.timeout(self.limits.answer_s):
                return await self.places.acquire()
        except TimeoutError:
            return False

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self.limits.read_s):
                body = await self._read(Headers(scope=scope), receive)
        except TimeoutError:
            what = f"The body must arrive within {self.limits.read_s:g} s"
            await refuse(408, what)(scope, receive, send)
            return
        except ConnectionError:  # the client is gone: nobody waits for an answer
            return
        if body is None:
            what = f"The body must have at most {self.limits.max_bytes:,} bytes"
            await refuse(413, what)(scope, receive, send)
            return
        begun = False

        async def sender(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self.limits.answer_s):
                await self.app(scope, _Once(body, receive), sender)
        except TimeoutError:
            if not begun:  # else the connection is closed: the client reads too slowly
                await refuse(504, f"An answer may take {self.limits.answer_s:g} s")(scope, receive, send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body; ``None`` if it is too large."""
        size, most = headers.get("content-length", ""), self.limits.max_bytes
        is_large = size.isdigit() and int(size) > most
        if is_large and headers.get("expect", "").lower() == "100-continue":
            return None  # it was not sent yet
        body, dropped = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            chunk: bytes = message.get("body", b"")
            is_large = is_large or len(body) + len(chunk) > most
            if is_large:  # a client that is still sending does not hear an answer
                body.clear()
                dropped += len(chunk)
            else:
                body += chunk
            if not message.get("more_body", False) or dropped > 4 * most:
                return None if is_large else bytes(body)


class _Once:
    """Gives a body that was read, and then what the client does."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body: bytes | None = body
        self.receive = receive

    async def __call__(self) -> Message:
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sender
