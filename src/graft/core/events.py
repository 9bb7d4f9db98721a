"""What the path tells a watcher while it works: JSON lines in the file that GRAFT_EVENTS names; unset, nothing."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

log = logging.getLogger("graft")
_aside = ContextVar("aside", default=False)


def tell(event: str, **facts: Any) -> None:
    """Add one line; a file that cannot be written stops no work."""
    if place := os.environ.get("GRAFT_EVENTS"):
        with contextlib.suppress(OSError), open(place, "a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **facts}) + "\n")


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Within it runs tell their epochs to whoever debugs alone: they are many, and what becomes of each is one line."""
    before = _aside.set(True)
    try:
        yield
    finally:
        _aside.reset(before)


def say(text: str, *words: Any) -> None:
    """What a run says of its epochs, in the log."""
    log.log(logging.DEBUG if _aside.get() else logging.INFO, text, *words)
