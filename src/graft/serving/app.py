"""The routes of a server."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import graft
from graft.serving import answers, described, page
from graft.serving.asking import examples
from graft.serving.door import OPEN, Door, until_gone
from graft.serving.limits import Refused, Room, Settings
from graft.serving.log import Log
from graft.serving.metrics import Metrics
from graft.serving.models import Models

PREDICT = (400, 403, 404, 408, 413, 415, 422, 503)


def app(folders: Sequence[str | os.PathLike[str]], settings: Settings = Settings()) -> FastAPI:
    """The application that serves these artifacts, each under its folder's name.

    Raises:
        DataError, ExportMismatch: a folder holds no artifact, or a damaged one.
    """
    metrics, room = Metrics(), Room(settings)
    models, log = Models([Path(folder) for folder in folders], settings, metrics, room), Log(metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(models.watch())
        yield
        watch.cancel()
        models.close()
        log.close()

    made = FastAPI(
        title="graft", version=graft.__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        redirect_slashes=False, description="Answers of the models that `graft transfer` made.",
    )  # fmt: skip
    made.state.models = models
    made.add_middleware(Door, room=room, metrics=metrics, log=log)
    made.add_exception_handler(HTTPException, _refused)
    _routes(made, models)
    made.include_router(page.router(models))
    if settings.token:
        plain = made.openapi
        made.openapi = cache(lambda: described.secured(plain(), OPEN))  # type: ignore[method-assign]
    return made


def _routes(made: FastAPI, models: Models) -> None:
    settings, metrics, room = models.settings, models.metrics, models.room

    async def predict(request: Request) -> Response:
        """One answer for each example, in order."""
        model = models.get(request.path_params.get("name"))
        async with examples(request, models, model) as asked:
            version, values = model.now, [value for _, value in asked]
            work = model.batcher.answers(version, values)
            said = await until_gone(work, request.receive, settings.answer)
        _count(metrics, model.name, said)
        status = 422 if all("error" in answer for answer in said) else 200
        content = answers.told(model.name, version.name, [name for name, _ in asked], said)
        return Response(content, status, media_type="application/json")

    async def card(request: Request) -> Response:
        """What the model is: its labels, schemas, licence, report, and the hashes of its files."""
        return JSONResponse(models.get(request.path_params.get("name")).predictor.card)

    async def health() -> Response:
        """Whether the process lives."""
        return JSONResponse({"health": "ok"})

    async def ready() -> Response:
        """Whether requests are answered, and by which versions."""
        room.check()
        if room.stopping:
            raise Refused(503, "The server is about to end.", 1)
        return JSONResponse({"ready": True, "models": {model.name: model.now.name for model in models}})

    async def measured() -> Response:
        """Counters and histograms in Prometheus' text format."""
        gauges: dict[str, Sequence[tuple[float, dict[str, str]]]] = {
            "graft_waiting_examples": [(room.examples, {})],
            "graft_queue_limit": [(settings.queue, {})],
            "graft_held_bytes": [(room.bytes, {})],
            "graft_model_info": [(1, {"model": model.name, "version": model.now.name}) for model in models],
        }
        return Response(metrics.text(gauges), media_type="text/plain; version=0.0.4; charset=utf-8")

    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    for path, more in (("", {}), ("/{name}", {"parameters": [name]})):
        said = described.replies(*PREDICT, good="Answers.", schema=described.ANSWERS)
        asks: dict[str, Any] = {"requestBody": described.body(settings.items), **more}
        made.post(f"/predict{path}", responses=said, openapi_extra=asks, operation_id=f"predict{path}")(predict)
        made.get(f"/card{path}", responses=described.replies(404, good="The card."), openapi_extra=more)(card)
    made.get("/health", responses=described.replies(good="It lives."))(health)
    made.get("/ready", responses=described.replies(503, good="They are."))(ready)
    text: dict[str, Any] = {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    made.get("/metrics", responses={**described.replies(), 200: text}, response_class=Response)(measured)


async def _refused(request: Request, error: Exception) -> Response:
    """What the router refuses, said as everything else is."""
    assert isinstance(error, HTTPException)
    said = {404: "There is nothing at this path.", 405: "This path is not asked in this way."}
    content = {"error": said.get(error.status_code, str(error.detail))}
    return JSONResponse(content, error.status_code, dict(error.headers or {}))


def _count(metrics: Metrics, model: str, said: Sequence[dict[str, Any]]) -> None:
    """What answers say of the data that come in: labels, doubts, and what is unlike the training data."""
    for answer in said:
        if "error" in answer:
            metrics.count("graft_unreadable_total", model=model)
            continue
        metrics.count("graft_examples_total", model=model)
        if "odd" in answer:
            metrics.count("graft_odd_total", model=model)
        for task, one in answer.get("tasks", {"": answer}).items():  # several heads on one backbone answer several
            name = f"{model}/{task}" if task else model
            for label in one.get("labels") or [one.get("label", one.get("group"))]:
                if isinstance(label, str):
                    metrics.count("graft_answers_total", model=name, label=label)
            for doubt in ("unlike", "unsure"):
                if one.get(doubt):
                    metrics.count(f"graft_{doubt}_total", model=name)
