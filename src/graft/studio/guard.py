"""Who may speak with the studio: a browser on this machine that was given the token, and only from our own page."""

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from graft.core import home

HOSTS = ("127.0.0.1", "localhost")
COOKIE = "graft-studio"
Next = Callable[[Request], Awaitable[Response]]


def token(place: Path) -> str:
    """The studio's token, made once for each home: a page that is open stays so when the studio starts again."""
    file = place / ".token"
    if not file.is_file():
        home.write_text(file, secrets.token_urlsafe(24))
        file.chmod(0o600)
    return file.read_text(encoding="utf-8")


def guarded(known: str) -> Callable[[Request, Next], Awaitable[Response]]:
    """What every request passes: a host of this machine, the token, and for a change our own page as its origin."""

    async def guard(request: Request, go_on: Next) -> Response:
        host = request.headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in HOSTS:  # another name that leads here is an attack by DNS
            return _refused(400, "The studio answers on this machine alone.")
        if request.headers.get("origin", f"http://{host}") != f"http://{host}":
            return _refused(403, "Another site may not use the studio.")
        if given := request.query_params.get("token"):
            if not secrets.compare_digest(given.encode(), known.encode()):
                return _refused(401, "This is not the studio's token. Use the address that it printed.")
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, known, httponly=True, samesite="strict", max_age=30 * 24 * 3600)
            return answer
        if not secrets.compare_digest(request.cookies.get(COOKIE, "").encode(), known.encode()):
            return _refused(401, "Open the studio by the whole address that it printed, with the token.")
        return await go_on(request)

    return guard


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
