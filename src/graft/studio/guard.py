"""Who may speak with the studio: a browser on this machine that was given the token, and only from our own page.

Whoever has no token sees a page that says where it is; what pages are made of is no secret.
"""

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from graft.core import home
from graft.serving import page

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
                return _locked(request)
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, known, httponly=True, samesite="strict", max_age=30 * 24 * 3600)
            return answer
        known_here = secrets.compare_digest(request.cookies.get(COOKIE, "").encode(), known.encode())
        if not known_here and not request.url.path.startswith("/static/"):
            return _locked(request)
        return await go_on(request)

    return guard


def _locked(request: Request) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return page.document("locked", "graft studio", 401)
    return _refused(401, "Open the studio by the whole address that it printed, with the token.")


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
