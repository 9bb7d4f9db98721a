"""The access log: a line of JSON for each request, without its content, written by a thread of its own."""

import json
import sys
import threading
import time
from collections import deque
from typing import Any, TextIO

from graft.serving.metrics import Metrics

KEPT = 10_000  # lines that wait for a reader who is slow: a pipe that nobody reads must not stop the server
PERIOD = 0.2  # seconds between two writings


class Log:
    """Lines that wait to be written."""

    def __init__(self, metrics: Metrics, stream: TextIO | None = None) -> None:
        self.metrics, self.stream = metrics, stream or sys.stdout
        self._lines: deque[str] = deque()
        self._written = threading.Event()
        threading.Thread(target=self._write, name="access log", daemon=True).start()

    def add(self, **entry: Any) -> None:
        """One line."""
        if len(self._lines) < KEPT:
            self._lines.append(json.dumps(entry))
        else:
            self.metrics.count("graft_log_lines_dropped_total")

    def close(self) -> None:
        """Give what is left a second to be written."""
        self._written.clear()
        self._written.wait(1)

    def _write(self) -> None:
        while True:
            time.sleep(PERIOD)
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            try:
                self.stream.write("".join(f"{line}\n" for line in lines))
                self.stream.flush()
            except (OSError, ValueError):  # whoever read it has gone
                return
            self._written.set()
