"""The studio as a process: on this machine alone, one for each home."""

import fcntl
import socket
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graft.core.errors import PlanError
from graft.studio import projects


def serve(port: int) -> None:
    """Run the studio until Ctrl+C; a job that runs then is interrupted, and goes on when it is asked to.

    Raises:
        PlanError: the port is taken, a studio of this home runs already, or the extra is not installed.
    """
    try:
        import python_multipart  # noqa: F401
        import uvicorn

        from graft.studio import app, guard
    except ModuleNotFoundError as error:
        missing = f"`graft studio` needs {error.name}, which is not installed"
        raise PlanError(f"{missing}: pip install fastapi python-multipart uvicorn.") from None

    place = projects.place()
    with _alone(place), _bound(port) as listening:
        known = guard.token(place)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/?token={known}"
        print(f"The studio is at {url}\nIt runs on this machine alone. Ctrl+C ends it.", flush=True)
        if sys.stdout.isatty():
            webbrowser.open(url)
        settings = uvicorn.Config(app.app(known), log_level="warning", access_log=False, timeout_graceful_shutdown=5)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listening])


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise PlanError(f"Port {port} cannot be taken: {error.strerror}. `--port 0` takes a free one.") from None


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Only one studio may work in a home."""
    with (place / ".studio.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlanError("A studio of this home runs already: use the address that it printed.") from None
        yield
