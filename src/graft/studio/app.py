"""The routes of the studio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from fastapi import Body, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from graft.core.errors import GraftError
from graft.core.shelf import names
from graft.predict import Predictor
from graft.predict import open as open_artifact
from graft.serving import extents, page
from graft.serving.answers import asked
from graft.serving.limits import Refused, Room, Settings, received
from graft.studio import guard, previews, projects, told, uploads
from graft.studio.jobs import Jobs

LIMITS = Settings()  # of an example that is asked about


class Choice(BaseModel, extra="forbid"):
    """What a person chooses on the page."""

    seconds: int | None = Field(None, ge=10, le=86_400)
    builtin: bool | None = None
    modality: str | None = Field(None, max_length=40)
    head: str | None = Field(None, max_length=40)
    label: str | None = Field(None, max_length=200)
    backbone: str | None = Field(None, max_length=400)
    strategy: str | None = Field(None, max_length=40)


def app(known: str) -> FastAPI:
    """The studio for whoever has this token."""
    jobs, turn = Jobs(projects.place()), anyio.CapacityLimiter(1)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(jobs.stop, "")  # it goes on when it is asked to

    made = FastAPI(title="graft studio", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    made.middleware("http")(guard.guarded(known))

    @made.exception_handler(GraftError)
    async def said(_: Request, error: GraftError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @made.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return JSONResponse({"error": error.sentence}, error.status)

    @made.get("/")
    def start() -> Response:
        return page.document("studio", "graft studio")

    @made.get("/static/{name}")
    def static(name: str) -> Response:
        return page.static(name)

    @made.get("/projects")
    def everyone() -> dict[str, Any]:
        found = [{"id": one.name, **projects.about(one), "done": (one / "artifact/card.json").is_file()}
                 for one in projects.everyone()]  # fmt: skip
        return {"projects": found, "modalities": list(names("modalities")), "heads": list(names("heads"))}

    @made.post("/projects")
    def create(name: Annotated[str, Body(embed=True, max_length=400)]) -> dict[str, str]:
        return {"id": projects.create(name).name}

    @made.get("/projects/{id}")
    def project(id: str) -> dict[str, Any]:
        return told.project(projects.find(id), jobs.running())

    @made.delete("/projects/{id}")
    def remove(id: str) -> dict[str, str]:
        folder = projects.find(id)
        if (now := jobs.running()) and Path(now["folder"]).is_relative_to(folder):
            jobs.stop()
        projects.remove(folder)
        return {"id": id}

    @made.put("/projects/{id}/files")
    async def receive(id: str, path: str, request: Request) -> dict[str, int]:
        return {"bytes": await uploads.receive(request.stream(), path, projects.find(id) / "data")}

    @made.post("/projects/{id}/settle")
    def settle(id: str) -> dict[str, str]:
        projects.settle(projects.find(id))
        return {"id": id}

    @made.post("/projects/{id}/jobs/{verb}")
    def begin(id: str, verb: Literal["load", "rank", "plan", "transfer"], choice: Choice) -> dict[str, str]:
        folder = projects.find(id)
        if jobs.running():
            raise GraftError("Something is being worked on already. Wait for its end, or stop it.")
        projects.choose(folder, **choice.model_dump(exclude_none=True))
        jobs.start(folder / "jobs" / verb, projects.argv(folder, verb))
        return {"id": id}

    @made.post("/projects/{id}/stop")
    def stop(id: str) -> dict[str, str]:
        if (now := jobs.running()) and Path(now["folder"]).is_relative_to(projects.find(id)):
            jobs.stop()
        return {"id": id}

    @made.get("/projects/{id}/examples")
    def examples(id: str) -> list[dict[str, Any]]:
        return previews.examples(told.loaded(projects.find(id)))

    @made.get("/projects/{id}/report")
    def report(id: str) -> Response:
        return page.reported(projects.find(id) / "artifact")

    @made.get("/projects/{id}/model.zip")
    def download(id: str) -> Response:
        archive = projects.packed(projects.find(id))
        return FileResponse(archive, filename="model.zip", headers=page.SAFE)

    @made.get("/projects/{id}/model")
    def model(id: str) -> dict[str, Any]:
        return page.told(id, _predictor(projects.find(id)))

    @made.post("/projects/{id}/explain")
    async def explain(id: str, request: Request) -> Response:
        predictor = await run_in_threadpool(_predictor, projects.find(id))
        body = await received(request.receive, request.headers.get("content-length", ""), Room(LIMITS))
        found = await run_in_threadpool(asked, request.headers.get("content-type", ""), body, 1)
        check = extents.check(predictor.card["modality"], LIMITS)
        return await page.explained(predictor, check, found, turn, request.query_params)

    return made


def _predictor(folder: Path) -> Predictor:
    """A project's model, checked once for every artifact that it has had."""
    card = folder / "artifact/card.json"
    if not card.is_file():
        raise GraftError("There is no model yet.")
    return _opened(str(card.parent), card.stat().st_mtime_ns)


@lru_cache(2)
def _opened(folder: str, when: int) -> Predictor:
    return open_artifact(folder)
