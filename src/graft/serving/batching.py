"""Examples of many requests in one batch.

An example is decoded in a thread of the pool. Whatever is ready when the network is free is computed together. A batch
waits only while further examples are being decoded, and never longer than `max_wait`: on an idle server nothing waits.
"""

import asyncio
import logging
import time
import traceback
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError, GraftError
from graft.serving.limits import Room
from graft.serving.metrics import Metrics

if TYPE_CHECKING:
    from graft.serving.models import Version

log = logging.getLogger("graft")
WIDE = 4  # batches of a frozen pass (Modality.ROWS) that the windows or tokens of one batch may fill: it bounds memory
SLOWLY = 0.1  # what the last batch counts for in the pace that is kept

Answer = dict[str, Any]


@dataclass
class Waiting:
    """One decoded example."""

    version: "Version"
    fed: Any
    answer: asyncio.Future[Answer]
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """The examples of one model."""

    def __init__(self, name: str, pool: Executor, engine: Executor, room: Room, metrics: Metrics) -> None:
        self.name, self.pool, self.engine, self.room, self.metrics = name, pool, engine, room, metrics
        self._ready: deque[Waiting] = deque()
        self._decoding = 0
        self._woken: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    async def answers(self, version: "Version", values: Sequence[Any]) -> list[Answer]:
        """One answer for each value, by this version of the model.

        Raises:
            Refused: there is no room for them.
        """
        self.room.enter(len(values))
        try:
            if self._task is None or self._task.done():  # the first request: there is a loop from now on
                self._woken, self._task = asyncio.Event(), asyncio.create_task(self._run())
            return list(await asyncio.gather(*(self._answer(version, value) for value in values)))
        finally:
            self.room.leave(len(values))

    async def _answer(self, version: "Version", value: Any) -> Answer:
        assert self._woken is not None
        loop = asyncio.get_running_loop()
        self._decoding += 1
        try:
            fed = await loop.run_in_executor(self.pool, taken, version, value)
        finally:
            self._decoding -= 1
            self._woken.set()  # perhaps a batch waits for this one alone
        if isinstance(fed, Exception):
            self._fault("decode", fed)
            return {"error": f"This example cannot be read ({type(fed).__name__})."}
        if isinstance(fed[0], GraftError):
            return {"error": str(fed[0])}
        waiting = Waiting(version, fed, loop.create_future())
        self._ready.append(waiting)
        self._woken.set()
        return await waiting.answer

    async def _run(self) -> None:
        assert self._woken is not None
        loop = asyncio.get_running_loop()
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._ready:
                await self._gathered()
                if not (batch := self._batch()):
                    continue
                start = time.monotonic()
                try:
                    answers = await loop.run_in_executor(self.engine, computed, batch)
                except Exception as fault:  # the batch is lost, not the requests in it
                    answers = [fault] * len(batch)
                self._tell(batch, answers, time.monotonic() - start)

    async def _gathered(self) -> None:
        """Wait while more is coming and the first of the batch has time."""
        assert self._woken is not None
        settings = self.room.settings
        until = self._ready[0].since + settings.max_wait
        while self._decoding and len(self._ready) < settings.max_batch and (left := until - time.monotonic()) > 0:
            self._woken.clear()
            try:
                await asyncio.wait_for(self._woken.wait(), left)
            except TimeoutError:
                return

    def _batch(self) -> list[Waiting]:
        """The first that are ready: of one version, and no more rows of ragged ones than memory is meant for."""
        batch, rows = list[Waiting](), 0
        while self._ready and len(batch) < self.room.settings.max_batch:
            first = self._ready[0]
            modality = first.version.predictor.modality
            rows += _rows(first.fed) if modality.RAGGED else 0
            if batch and (first.version is not batch[0].version or rows > WIDE * modality.ROWS):
                break
            self._ready.popleft()
            if not first.answer.done():  # whoever asked may have gone
                batch.append(first)
        return batch

    def _tell(self, batch: list[Waiting], answers: Sequence[Answer | Exception], seconds: float) -> None:
        self.metrics.observe("graft_batch_examples", len(batch), model=self.name)
        self.metrics.observe("graft_batch_seconds", seconds, model=self.name)
        self.room.pace += SLOWLY * (seconds / len(batch) - self.room.pace)
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                self._fault("compute", answer)
                answer = {"error": f"The model cannot answer this example ({type(answer).__name__})."}
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

    def _fault(self, where: str, fault: Exception) -> None:
        self.metrics.count("graft_faults_total", where=where)
        frames = traceback.extract_tb(fault.__traceback__)  # its own words may repeat what was asked
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
        log.error("%s: a fault in %s: %s at %s", self.name, where, type(fault).__name__, place)


def taken(version: "Version", value: Any) -> Any:
    """A value as the network is fed it; a fault of ours is handed back, so that it ends one example alone."""
    try:
        if isinstance(value, str) and not hasattr(version.predictor.modality, "INLINE"):
            raise DataError('Here an example is {"base64": "…"} or a file of a form; no path is read.')
        return version.predictor.taken(value, version.check)
    except GraftError as error:
        return error, []
    except Exception as fault:  # libraries that stumble over hostile bytes raise whatever they like
        return fault


def computed(batch: Sequence[Waiting]) -> Sequence[Answer | Exception]:
    """Answers of one forward pass; where that fails, each example by itself, so that one spoils no other."""
    predictor = batch[0].version.predictor
    try:
        return predictor.answered([waiting.fed for waiting in batch])
    except Exception as fault:
        return [fault] if len(batch) == 1 else [computed([waiting])[0] for waiting in batch]


def _rows(fed: Any) -> int:
    arrays = fed[0]
    return len(arrays["x"]) if isinstance(arrays, dict) else 1
