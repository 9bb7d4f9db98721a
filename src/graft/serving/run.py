"""A server as a process: the address that it takes, and who may ask there."""

import logging
import os
import re
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from graft.core.errors import PlanError
from graft.serving.limits import Settings

log = logging.getLogger("graft")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LEAST = 16  # characters of a token: a shorter one is guessed
FINISH = 10.0  # seconds beyond those for an answer in which a server that ends finishes what it accepted


def serve(folders: Sequence[str | os.PathLike[str]], settings: Settings = Settings()) -> None:
    """Serve these artifacts until the process is told to end; what was accepted by then is still answered.

    Raises:
        DataError, ExportMismatch: a folder holds no artifact, or a damaged one.
        PlanError: the address asks for a token or is taken, the token is too weak, or the extra is not installed.
    """
    _check(settings)
    try:
        import python_multipart  # noqa: F401
        import uvicorn

        from graft.serving.app import app
        from graft.serving.connection import Connection, Server
    except ModuleNotFoundError as error:
        missing = f"`graft serve` needs {error.name}, which is not installed"
        raise PlanError(f"{missing}: pip install fastapi python-multipart uvicorn.") from None

    made = app(folders, settings)
    with _bound(settings) as listening:
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what is worth knowing is counted or logged by us
        config = uvicorn.Config(
            made, http=cast(Any, partial(Connection, settings=settings)), ws="none", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=int(settings.answer + FINISH),
        )  # fmt: skip
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        names = ", ".join(model.name for model in made.state.models)
        log.info("Serving %s on http://%s:%d", names, host, listening.getsockname()[1])
        Server(config, made.state.models.room).run(sockets=[listening])


def _check(settings: Settings) -> None:
    if settings.host not in LOOPBACK and not settings.token:
        raise PlanError(
            f"Whoever reaches {settings.host} could ask: name a --token (or GRAFT_TOKEN), which requests then show, or "
            "serve this machine alone with --host 127.0.0.1."
        )
    if settings.token and not re.fullmatch(f"[!-~]{{{LEAST},}}", settings.token):
        make = "python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        raise PlanError(f"A token has {LEAST} or more letters, digits and signs, and no spaces. One is made by: {make}")


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise PlanError(
            f"{where} cannot be taken: {error.strerror or error}. Choose another --host or --port."
        ) from None
