"""The page of a server: an example is dropped, and the answer is shown with what it hangs on."""

import base64
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from graft.core.errors import GraftError
from graft.predict import Predictor

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
LARGEST = 50_000_000  # bytes of one example
WAITING = 8  # explanations that wait their turn: each asks the model some eighty times
CHANNELS, POINTS = 8, 600  # of a recording that is drawn
SIDE = 720  # pixels of a photo that is shown


def router(models: Mapping[str, Predictor]) -> APIRouter:
    """The page, and what it asks for; of several models the first answers where none is named."""
    routes, turn = APIRouter(), anyio.CapacityLimiter(1)

    def model(name: str | None) -> Predictor:
        if name is None:
            return next(iter(models.values()))
        if name not in models:
            raise HTTPException(404, f"There is no model {name!r} here.")
        return models[name]

    @routes.get("/", include_in_schema=False)
    def page() -> Response:
        return document("page.html")

    @routes.get("/static/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        return static(name)

    @routes.get("/models", summary="What each model here takes and answers")
    def known() -> list[dict[str, Any]]:
        return [described(name, models[name]) for name in models]

    @routes.get("/report", summary="The report of a model, as a page")
    @routes.get("/report/{name}", summary="The report of a model, as a page")
    def report(name: str | None = None) -> Response:
        return reported(model(name).folder)

    @routes.post("/explain", summary="The answer, what it hangs on, and the nearest training examples")
    @routes.post("/explain/{name}", summary="The answer, what it hangs on, and the nearest training examples")
    async def explain(request: Request, name: str | None = None, quick: bool = False) -> dict[str, Any]:
        return await explained(model(name), request, turn, quick)

    return routes


def document(name: str) -> Response:
    """A page of ours."""
    return FileResponse(WEB / name, media_type="text/html; charset=utf-8", headers=SAFE)


def static(name: str) -> Response:
    """One of the files that our pages are made of."""
    if name not in STATIC:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(WEB / name, media_type=f"{STATIC[name]}; charset=utf-8", headers=SAFE)


def reported(folder: Path) -> Response:
    """The report of the artifact in a folder."""
    if not (folder / "report.html").is_file():
        raise HTTPException(404, "This model came without a report.")
    return FileResponse(folder / "report.html", media_type="text/html; charset=utf-8", headers=REPORT)


def described(name: str, predictor: Predictor) -> dict[str, Any]:
    """What the page must know of a model."""
    card, reading = predictor.card, predictor.card["reading"]
    columns = [*(reading.get("columns") or ()), *(reading.get("categories") or ())]
    return {
        "name": name, "task": card["task"]["name"], "modality": card["modality"], "head": card["head"],
        "labels": list(predictor.labels), "columns": columns, "one": predictor.modality.WORD[0],
        "suffixes": list(predictor.modality.SUFFIXES), "sentence": card["report"]["sentence"],
        "level": card.get("trust", {}).get("level"), "report": (predictor.folder / "report.html").is_file(),
    }  # fmt: skip


async def explained(predictor: Predictor, request: Request, turn: anyio.CapacityLimiter, quick: bool) -> dict[str, Any]:
    """The answer for the example in a request, and unless it is to be quick, what it hangs on."""
    raw = await example(request)
    if quick:
        return await run_in_threadpool(_told, answered, predictor, raw)
    if turn.statistics().tasks_waiting >= WAITING:
        raise HTTPException(503, "Too many explanations are asked for at once.", {"Retry-After": "5"})
    return await anyio.to_thread.run_sync(_told, whole, predictor, raw, limiter=turn)


async def example(request: Request) -> Any:
    """What is to be answered for: a file's bytes, or {"input": …} in JSON; a text never names a file here."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, f"An example may have {LARGEST // 1_000_000} MB at most.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return bytes(body)
    try:
        value = json.loads(body)["input"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise HTTPException(422, 'JSON must be {"input": …}: a text, a row or numbers.') from None
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def answered(predictor: Predictor, raw: Any) -> dict[str, Any]:
    """The answer, and the example as it is shown."""
    answer = predictor.predict([raw])[0]
    if "error" in answer:
        raise HTTPException(422, answer["error"])
    answer.pop("input")
    return {"answer": answer, "shown": _shown(predictor, raw)}


def whole(predictor: Predictor, raw: Any) -> dict[str, Any]:
    """The answer, what it hangs on, and which training examples are nearest."""
    from graft.occlusion import looked

    return {**answered(predictor, raw), "looked": looked(predictor, raw), "nearest": predictor.nearest(raw, k=3)}


def _told(ask: Callable[[Predictor, Any], dict[str, Any]], predictor: Predictor, raw: Any) -> dict[str, Any]:
    try:
        return ask(predictor, raw)
    except GraftError as error:
        raise HTTPException(422, str(error)) from None


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
