"""From a request to its examples: received within limits, taken apart beside the event loop, and given back."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import Request

from graft.serving.answers import Asked, asked
from graft.serving.limits import received
from graft.serving.models import Model, Models

LARGE = 1 << 18  # bytes from which a request is taken apart in a thread: the event loop must not wait for it


@contextlib.asynccontextmanager
async def examples(request: Request, models: Models, model: Model) -> AsyncIterator[list[Asked]]:
    """The examples of a request, whose bytes count as held until the block ends.

    Raises:
        Refused: it is too large, too slow, damaged, or there is no room.
    """
    room, most = models.room, models.settings.items
    room.check()
    body = await received(request.receive, request.headers.get("content-length", ""), room)
    size = len(body)
    try:
        kind = request.headers.get("content-type", "")
        found = asked(kind, body, most) if size < LARGE else await models.work(asked, kind, body, most)
        request.scope["graft"] = {"model": model.name, "version": model.now.name, "examples": len(found), "took": size}
        del body  # each example has its bytes of its own
        yield found
    finally:
        room.bytes -= size
