"""The artifacts that are served: opened from copies of their own, and anew where a folder holds a new version."""

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import graft
from graft.core.cores import cores
from graft.core.errors import DataError, GraftError
from graft.core.keys import file_sha256
from graft.serving.batching import Batcher
from graft.serving.extents import check
from graft.serving.limits import Refused, Room, Settings
from graft.serving.metrics import Metrics

log = logging.getLogger("graft")
Stamp = tuple[tuple[str, int, int, int], ...]  # name, time, size and number of every file of a folder
SHORT = 12  # digits of a card's hash that name a version


@dataclass(frozen=True)
class Version:
    """What one state of a folder answers with."""

    predictor: "graft.Predictor"
    name: str  # the beginning of the hash of its card
    check: Callable[[bytes], object]  # refuses raw bytes that are too much


class Model:
    """One artifact: the version that answers now, and how its folder looked when that was opened."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.name, self.settings = folder, folder.name, settings
        self._opened = self._tried = stamp(folder)
        self.now = self.read()
        self.batcher: Batcher

    @property
    def predictor(self) -> "graft.Predictor":
        """What answers now."""
        return self.now.predictor

    def read(self) -> Version:
        """The version that lies in the folder; GraftError where it is damaged."""
        predictor = copied(self.folder)
        name = file_sha256(predictor.folder / "card.json")[:SHORT]
        made = Version(predictor, name, check(predictor.card["modality"], self.settings))
        weakref.finalize(made, shutil.rmtree, predictor.folder, ignore_errors=True)  # or when the process ends
        return made

    def changed(self) -> bool:
        """Whether the folder has changed since, and has then held still from one look to the next: it is whole."""
        now = stamp(self.folder)
        still, self._tried = now == self._tried, now
        return bool(now) and still and now != self._opened

    def tried(self) -> None:
        """The folder is not read again until it changes once more."""
        self._opened = self._tried


class Models:
    """All of them by name, and the threads that they share."""

    def __init__(self, folders: Sequence[Path], settings: Settings, metrics: Metrics, room: Room) -> None:
        self.settings, self.metrics, self.room = settings, metrics, room
        self.pool = ThreadPoolExecutor(cores(), "decode")
        self.engine = ThreadPoolExecutor(1, "compute")  # one batch at a time: it uses every core by itself
        self._models: dict[str, Model] = {}
        for folder in folders:
            folder = Path(os.path.abspath(folder))  # not resolved: a link may lead to another version tomorrow
            name = folder.name
            if name in self._models:
                raise DataError(f"Two folders are called {name!r}, and each is served under its name. Rename one.")
            model = self._models[name] = Model(folder, settings)
            model.batcher = Batcher(name, self.pool, self.engine, room, metrics)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def get(self, name: str | None = None) -> Model:
        """The one of this name; without a name the only one there is.

        Raises:
            Refused: there is none, or several.
        """
        if name is None and len(self._models) == 1:
            return next(iter(self))
        if name not in self._models:
            what = "Several models are served" if name is None else "There is no such model"
            raise Refused(404, f"{what}. Name one of them in the path: {', '.join(self._models)}.")
        return self._models[name]

    async def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns, called in a thread of the bounded pool."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)

    async def reload(self) -> bool:
        """Open every folder that has changed, and say whether there was one; where that fails the old one goes on."""
        found = False
        for model in self:
            if not await asyncio.to_thread(model.changed):
                continue
            model.tried()
            found = True
            before, outcome = model.now.name, "taken"
            try:
                model.now = await asyncio.to_thread(model.read)
                log.info("%s: version %s takes over from %s.", model.name, model.now.name, before)
            except Exception as error:  # whatever is wrong with it, the old one goes on
                outcome = "refused"
                log.warning("%s: the new version is refused, %s goes on: %s", model.name, before, error)
            self.metrics.count("graft_reloads_total", model=model.name, outcome=outcome)
        return found

    async def watch(self) -> None:
        """Look for new versions until it is cancelled."""
        taken = 0.0  # when a new version was, if its forerunner may still be in memory
        while True:
            await asyncio.sleep(self.settings.reload)
            if await self.reload():
                taken = asyncio.get_running_loop().time()
            elif taken and asyncio.get_running_loop().time() > taken + self.settings.answer:
                taken = 0.0
                gc.collect()  # a predictor refers to itself: by now nobody else refers to the old one

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.engine.shutdown(wait=False, cancel_futures=True)


def stamp(folder: Path) -> Stamp:
    """How a folder looks from outside; empty where there is no card in it, as while it is being replaced."""
    with contextlib.suppress(OSError):
        found = [(entry.name, entry.stat()) for entry in sorted(folder.iterdir()) if entry.is_file()]
        if any(name == "card.json" for name, _ in found):
            return tuple((name, seen.st_mtime_ns, seen.st_size, seen.st_ino) for name, seen in found)
    return ()


def copied(folder: Path) -> "graft.Predictor":
    """The artifact, opened from a copy that nobody changes.

    What is read later (a tokenizer, the report) is thus of the version that was checked, and libraries that remember
    files by their path do not take one version's for another's.
    """
    place = Path(tempfile.mkdtemp(prefix="graft-serve-"))
    try:
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_file() and not entry.is_symlink():  # a link may lead to what nobody meant to serve
                shutil.copyfile(entry, place / entry.name)
        predictor = graft.open(place)
    except BaseException as error:
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, GraftError):  # it names the copy, of which nobody knows
            raise type(error)(str(error).replace(str(place), str(folder))) from None
        raise
    return predictor
