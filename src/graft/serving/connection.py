"""Connections: how many, how slow they may be, and how they end when the server does."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from h11 import IDLE, SEND_BODY
from uvicorn.protocols.http.h11_impl import H11Protocol

from graft.serving.limits import Room, Settings

LINGER = 0.5  # seconds in which a server that ends still hears requests that were under way
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Connection(H11Protocol):
    """A connection, one of so many, over which the head of a request must arrive in time."""

    def __init__(self, *arguments: Any, settings: Settings, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.settings = settings
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock, or say that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.settings.connections:
            transport.write(FULL)
            transport.close()
        else:
            self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        super().connection_lost(exc)
        self._stop()

    def data_received(self, data: bytes) -> None:
        """See whether the head is whole."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """See whether anything is still coming that nobody listens to."""
        super().on_response_complete()
        self._watch()

    def shutdown(self) -> None:
        """End after a while: a request may be on its way."""
        self.loop.call_later(LINGER, super().shutdown)

    def _watch(self) -> None:
        """The clock runs while a part of a head has come, and while the rest of a refused request comes."""
        part = self.conn.their_state is IDLE and self.conn.trailing_data[0]
        rest = self.conn.their_state is SEND_BODY and self.cycle.response_complete
        if not (part or rest):
            self._stop()
        elif self._clock is None:
            self._start()

    def _start(self) -> None:
        self._clock = self.loop.call_later(self.settings.arrive, self.transport.close)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class Server(uvicorn.Server):
    """A server that says so when it is told to end: it is not ready any more, and answers close their connections."""

    def __init__(self, config: uvicorn.Config, room: Room) -> None:
        super().__init__(config)
        self.room = room

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but a signal that was heeded does not kill the process afterwards: copies are taken away."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT has come."""
        self.room.stopping = True
        super().handle_exit(sig, frame)
