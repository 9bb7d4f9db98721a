"""What every request passes: who may ask, what is logged and counted, and the headers that every answer has."""

import asyncio
import base64
import binascii
import hmac
import itertools
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from graft.serving.limits import Gone, Receive, Refused, Room
from graft.serving.log import Log
from graft.serving.metrics import Metrics

log = logging.getLogger("graft")
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN = ("/health", "/ready")  # whoever watches over the process needs no token for these
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")  # what a browser here calls this machine; else a page from afar asks
ID = re.compile(rb"[\w.:-]{1,64}", re.ASCII)  # of a request, as a client may choose it
HUNG_UP = 499  # in the log, where the client did not wait for its answer
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Door:
    """The application behind its door."""

    def __init__(self, app: App, room: Room, metrics: Metrics, log: Log) -> None:
        self._numbers = itertools.count(secrets.randbits(63))  # drawn once: the kernel is not asked for every request
        self.app, self.settings, self.room, self.metrics, self.log = app, room.settings, room, metrics, log

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, headers = time.monotonic(), dict(scope["headers"])
        asked = headers.get(b"x-request-id", b"")
        name = asked.decode() if ID.fullmatch(asked) else f"{next(self._numbers):016x}"
        status, size = HUNG_UP, 0

        async def sent(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._headers(message.get("headers", ()), name)
            size += len(message.get("body", b""))
            await send(message)

        try:
            try:
                self._check(scope, headers)
                await self.app(scope, receive, sent)
            except Refused as refused:
                await reply(sent, refused)
            except Gone:
                pass
            except Exception:
                self.metrics.count("graft_faults_total", where="request")
                log.exception("request %s failed", name)
                if status == HUNG_UP:  # nothing was said yet
                    await reply(sent, Refused(500, "A fault of the server's own: please report what its log says."))
        finally:
            self._note(scope, name, status, size, time.monotonic() - start)

    def _check(self, scope: Message, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self.settings.token and re.sub(r":\d*$", "", host) not in LOOPBACK:
            raise Refused(421, "This server answers this machine alone: ask for localhost or 127.0.0.1.")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and scope["method"] not in ("GET", "HEAD") and origin.partition("://")[2] != host:
            raise Refused(403, "A page of another site may not ask this server.")
        if self.settings.token and scope["path"] not in OPEN and not self._shown(headers.get(b"authorization", b"")):
            raise Refused(401, "Show the token: Authorization: Bearer TOKEN.")

    def _shown(self, authorization: bytes) -> bool:
        """Whether the token is there: as Bearer, or as a browser shows it when it asks for a password."""
        kind, _, value = authorization.partition(b" ")
        if kind.lower() == b"basic":
            try:
                value = base64.b64decode(value, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        known = kind.lower() in (b"bearer", b"basic")
        return hmac.compare_digest(value.strip(), self.settings.token.encode()) and known

    def _headers(self, given: Any, name: str) -> list[tuple[bytes, bytes]]:
        there = {key.lower() for key, _ in given}
        more = {**HEADERS, "x-request-id": name, **({"connection": "close"} if self.room.stopping else {})}
        return [*given, *((k.encode(), v.encode()) for k, v in more.items() if k.encode() not in there)]

    def _note(self, scope: Message, name: str, status: int, size: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "")
        self.metrics.count("graft_requests_total", route=route, status=str(status))
        self.metrics.observe("graft_request_seconds", seconds, route=route)
        self.log.add(
            time=round(time.time(), 3), id=name, client=(scope.get("client") or ("",))[0], method=scope["method"][:16],
            path=scope["path"][:100], status=status, ms=round(1000 * seconds, 1), bytes=size, **scope.get("graft", {}),
        )  # fmt: skip


async def reply(send: Send, refused: Refused) -> None:
    """A refusal as it is sent: its sentence in JSON."""
    body = json.dumps({"error": refused.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 503:
        headers.append((b"retry-after", str(max(1, refused.again)).encode()))
    if refused.status == 401:
        kinds = (b"Bearer", b"Basic")  # each in a line of its own: of two in one, chromium understands neither
        headers += [(b"www-authenticate", kind + b' realm="graft"') for kind in kinds]
    if refused.status == 408:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def until_gone(work: Awaitable[Any], receive: Receive, seconds: float) -> Any:
    """What work comes to; given up where the client hangs up or time is over.

    Raises:
        Gone, Refused.
    """
    task, left = asyncio.ensure_future(work), asyncio.ensure_future(receive())
    try:
        await asyncio.wait({task, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if left.done():
            raise Gone
        raise Refused(503, f"There was no answer within {seconds:g} s. Ask again later.", 5)
    finally:
        for one in (task, left):
            one.cancel()
