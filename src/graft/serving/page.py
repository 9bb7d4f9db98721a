"""The page of a server: an example is dropped, and the answer is shown with what it hangs on."""

import base64
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import anyio
import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from graft.core.errors import DataError, GraftError
from graft.data import recordings
from graft.predict import Predictor
from graft.serving import described
from graft.serving.answers import Asked
from graft.serving.asking import examples
from graft.serving.limits import Refused
from graft.serving.models import Models

log = logging.getLogger("graft")
WEB = Path(__file__).parent.parent / "web"
STATIC = {
    "style.css": "text/css", "page.js": "text/javascript", "studio.js": "text/javascript", "dom.js": "text/javascript",
    "ask.js": "text/javascript", "answer.js": "text/javascript", "look.js": "text/javascript",
    "files.js": "text/javascript", "steps.js": "text/javascript", "icon.svg": "image/svg+xml",
}  # fmt: skip
# No script or style but the server's own files, and nobody may put the page into a frame.
SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src blob:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
# A report brings its own style, pictures and sounds, and runs nothing.
REPORT = SAFE | {
    "Content-Security-Policy": "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "media-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
}
FAILING = (400, 403, 404, 408, 413, 415, 422, 503)
WAITING = 8  # explanations that wait their turn: each asks the model some eighty times
CHANNELS, POINTS = 8, 600  # of a recording that is drawn
SIDE = 720  # pixels of a photo that is shown


def router(models: Models) -> APIRouter:
    """The page, and what it asks for."""
    routes, turn = APIRouter(), anyio.CapacityLimiter(1)

    @routes.get("/", include_in_schema=False)
    async def page() -> Response:
        return document("page", "Ask the model · graft")

    @routes.get("/static/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        return static(name)

    async def known() -> list[dict[str, Any]]:
        """What each model takes and answers."""
        return [told(model.name, model.predictor) for model in models]

    async def report(request: Request) -> Response:
        """The report of a model, as a page."""
        return reported(models.get(request.path_params.get("name")).predictor.folder)

    async def explain(request: Request) -> Response:
        """The answer for one example, what it hangs on, and the nearest training examples."""
        model = models.get(request.path_params.get("name"))
        async with examples(request, models, model) as found:
            return await explained(model.predictor, model.now.check, found, turn, request.query_params)

    body, name = described.body(1), {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    several = {"type": "array", "items": {"type": "object"}}
    routes.get("/models", responses=described.replies(good="What they are.", schema=several))(known)
    page_of: dict[int | str, dict[str, Any]] = {
        200: {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}}
    }
    for path, more in (("", {}), ("/{name}", {"parameters": [name]})):
        failing = described.replies(*FAILING, good="The explanation.")
        routes.get(
            f"/report{path}", responses={**described.replies(404), **page_of}, response_class=Response,
            openapi_extra=more,
        )(report)  # fmt: skip
        routes.post(f"/explain{path}", responses=failing, openapi_extra={"requestBody": body, **more})(explain)
    return routes


def document(name: str, title: str, status: int = 200) -> Response:
    """A page of ours: its body within the frame that all of them share."""
    frame, body = ((WEB / f"{one}.html").read_text(encoding="utf-8").rstrip() for one in ("frame", name))
    script = f'<script type="module" src="static/{name}.js"></script>' if f"{name}.js" in STATIC else ""
    return HTMLResponse(Template(frame).substitute(title=title, script=script, body=body), status, SAFE)


def static(name: str) -> Response:
    """One of the files that our pages are made of."""
    if name not in STATIC:
        raise Refused(404, "There is no such file.")
    return FileResponse(WEB / name, media_type=f"{STATIC[name]}; charset=utf-8", headers=SAFE)


def reported(folder: Path) -> Response:
    """The report of the artifact in a folder."""
    if not (folder / "report.html").is_file():
        raise Refused(404, "This model came without a report.")
    return FileResponse(folder / "report.html", media_type="text/html; charset=utf-8", headers=REPORT)


def told(name: str, predictor: Predictor) -> dict[str, Any]:
    """What the page must know of a model."""
    card, reading = predictor.card, predictor.card.get("reading", {})
    columns = [*(reading.get("columns") or ()), *(reading.get("categories") or ())]
    return {
        "name": name, "task": card.get("task", {}).get("name", name),
        "modality": card["modality"], "head": card.get("head", ""),
        "labels": list(predictor.labels), "columns": columns, "one": predictor.modality.WORD[0],
        "tasks": [{"name": task, "head": one["head"], "labels": one["labels"],
                   "level": one.get("trust", {}).get("level")} for task, one in card.get("tasks", {}).items()],
        "several": predictor.modality.WORD[1], "suffixes": list(predictor.modality.SUFFIXES),
        "sentence": card.get("report", {}).get("sentence", ""), "level": card.get("trust", {}).get("level"),
        "report": (predictor.folder / "report.html").is_file(),
    }  # fmt: skip


async def explained(
    predictor: Predictor, check: Callable[[bytes], object], found: Sequence[Asked], turn: anyio.CapacityLimiter,
    asked: Mapping[str, str],
) -> Response:  # fmt: skip
    """The answer for the example of a request, and unless it is to be `quick`, what it hangs on.

    Args:
        asked: the query: `trial` says which one of a file of several recordings is meant, counted from 0.

    Raises:
        Refused: it cannot be read, or too many wait.
    """
    if len(found) != 1:
        raise Refused(422, "One example at a time is explained.")
    if turn.statistics().tasks_waiting >= WAITING:
        raise Refused(503, "Too many explanations are asked for at once.", 5)
    value = found[0][1]
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value  # no text names a file here
    quick, trial = "quick" in asked, asked.get("trial", "")
    ask, limiter = (answered, None) if quick else (whole, turn)
    body = await anyio.to_thread.run_sync(_asked, ask, predictor, check, raw, trial, limiter=limiter)
    return Response(body, media_type="application/json")


def answered(predictor: Predictor, raw: Any) -> dict[str, Any]:
    """The answer, and the example as it is shown."""
    answer = predictor.predict([raw])[0]
    if "error" in answer:
        raise DataError(answer["error"])
    answer.pop("input")
    return {"answer": answer, "shown": _shown(predictor, raw)}


def whole(predictor: Predictor, raw: Any) -> dict[str, Any]:
    """The answer, what it hangs on, and which training examples are nearest."""
    from graft.occlusion import looked

    return {**answered(predictor, raw), "looked": looked(predictor, raw), "nearest": predictor.nearest(raw, k=3)}


def _asked(
    ask: Callable[[Predictor, Any], dict[str, Any]], predictor: Predictor, check: Callable[[bytes], object], raw: Any,
    trial: str,
) -> str:  # fmt: skip
    reading: Any = predictor.reading
    try:
        check(given := predictor.modality.given(raw, reading))
        if trial.isdecimal() and predictor.card["modality"] == "signal":
            raw = recordings.trial(given, int(trial), reading.layout, reading.label)
        return json.dumps(ask(predictor, raw), allow_nan=False)
    except GraftError as error:
        raise Refused(422, str(error)) from None
    except Exception as fault:  # libraries that stumble over hostile bytes raise whatever they like
        log.error("A fault in an explanation: %s: %s", type(fault).__name__, str(fault)[:200])
        raise Refused(422, f"This example cannot be explained ({type(fault).__name__}).") from None


def _shown(predictor: Predictor, raw: Any) -> dict[str, Any]:
    """A photo as it was understood, or a recording's curves."""
    kind, modality = predictor.card["modality"], predictor.modality
    if kind not in ("image", "audio", "signal"):
        return {}
    example = modality.decode(modality.given(raw, predictor.reading), predictor.reading)
    if kind == "image":
        example.thumbnail((SIDE, SIDE))
        stream = io.BytesIO()
        example.convert("RGB").save(stream, "JPEG", quality=85)
        return {"photo": f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"}
    if kind == "audio":
        return {"seconds": example.seconds, "curves": [{"name": "", "points": curve(example.samples)}]}
    rate = example.rate or 1.0
    named = zip(example.channels or [""] * len(example.x), example.x, strict=False)
    curves = [{"name": str(name), "points": curve(x)} for name, x in list(named)[:CHANNELS]]
    return {"seconds": example.x.shape[1] / rate, "curves": curves}


def curve(samples: np.ndarray) -> list[list[float]]:
    """Lowest and highest sample of each stretch, scaled to -1 to 1."""
    x = np.nan_to_num(np.asarray(samples, np.float64))
    parts = np.array_split(x, min(POINTS, len(x)))
    most = np.abs(x).max() or 1.0
    return [[round(float(part.min() / most), 3), round(float(part.max() / most), 3)] for part in parts]
