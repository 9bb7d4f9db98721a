"""How much a server takes: of one request, of all together, and for how long it waits."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(frozen=True)
class Settings:
    """What a server is told. Beyond a limit a request is refused with a sentence."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""  # which every request but those for health must show; "": none, on loopback only
    max_batch: int = 32  # examples that are computed together
    max_wait: float = 0.005  # seconds that a batch waits for examples that are being decoded
    queue: int = 512  # examples that are accepted and not yet answered
    body: int = 32 << 20  # bytes of one request
    held: int = 256 << 20  # bytes of all requests that are being received or answered
    items: int = 256  # examples of one request
    pixels: int = 89_478_485  # of one photo: as many as are decoded anywhere, 0.27 GB
    seconds: float = 600.0  # of one clip
    tokens: int = 8192  # of one text, counted as six characters each
    samples: int = 20_000_000  # of one trial, all channels together: 160 MB in memory
    arrive: float = 20.0  # seconds within which a request must have arrived
    answer: float = 30.0  # seconds within which it is answered
    connections: int = 512  # open at a time
    reload: float = 1.0  # seconds between two looks at the artifacts' folders


class Refused(Exception):
    """A request that is not answered: its status, one sentence, and when to come again."""

    def __init__(self, status: int, sentence: str, again: int = 0) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.again = status, sentence, again


class Gone(Exception):
    """The client has hung up."""


class Room:
    """What all requests together hold: bytes of bodies, and examples that wait for their answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bytes = self.examples = 0
        self.pace = 0.0  # seconds that an example takes, lately
        self.stopping = False  # whether the server is about to end

    def again(self) -> int:
        """Seconds after which it is worth to ask again."""
        return min(30, 1 + int(self.examples * self.pace))

    def check(self) -> None:
        """Raise Refused where nothing more is accepted."""
        if self.examples >= self.settings.queue:
            raise Refused(503, f"{self.examples} examples are waiting already. Ask again later.", self.again())

    def enter(self, count: int) -> None:
        """Accept this many examples; `leave` gives their places back.

        Raises:
            Refused: there is no room for them now, or there never is.
        """
        if count > self.settings.items:
            raise Refused(422, f"One request holds at most {self.settings.items} examples, not {count}.")
        if self.examples + count > self.settings.queue:
            raise Refused(503, f"There is no room for {count} examples now. Ask again later.", self.again())
        self.examples += count

    def leave(self, count: int) -> None:
        """Examples have been answered, or given up."""
        self.examples -= count

    def hold(self, count: int) -> None:
        """Take bytes in; raises Refused where all requests together hold too many."""
        if self.bytes + count > self.settings.held:
            raise Refused(503, "The server holds as much as it can. Ask again later.", self.again())
        self.bytes += count


async def received(receive: Receive, declared: str, room: Room) -> bytes:
    """A request's body, held in `room` until its bytes are given back there.

    Raises:
        Refused: it is too large, too slow, or there is no room for it; what was held is given back.
        Gone: the client hung up before its end.
    """
    settings, chunks, size = room.settings, list[bytes](), 0
    large = Refused(413, f"A request has at most {settings.body:,} bytes. Send fewer or smaller examples.")
    if declared.isdecimal() and int(declared) > settings.body:
        raise large
    try:
        async with asyncio.timeout(settings.arrive):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                if chunk := message.get("body", b""):
                    if size + len(chunk) > settings.body:
                        raise large
                    room.hold(len(chunk))
                    size += len(chunk)
                    chunks.append(chunk)
                if not message.get("more_body"):
                    return b"".join(chunks)
    except BaseException as error:
        room.bytes -= size
        if isinstance(error, TimeoutError):
            raise Refused(408, f"The request did not arrive within {settings.arrive:g} s.") from None
        raise
