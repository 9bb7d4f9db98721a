"""The frozen prefix run once over a dataset: what comes out is another dataset.

train(prefix ∘ rest, data) == train(rest, features(prefix, data))
"""

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from tqdm import tqdm

from graft.core import home
from graft.core.keys import key
from graft.data.dataset import Batch, Dataset, Stored, Streamed, ahead
from graft.data.store import Store, gathered, open_store
from graft.model.cuts import Cut
from graft.model.modes import pinned, pooled
from graft.model.prefix import Prefix

READ, TEXTS = 256, 2048  # ragged examples (of which texts are small) that are read together, to fill up full batches


class Count:
    """Examples sent through a frozen prefix, and examples found stored, in this process."""

    passes = 0
    hits = 0


def features(prefix: Prefix, data: Dataset, views: int = 1, *, stored: bool = True) -> Dataset:
    """`data` mapped through the frozen prefix.

    Args:
        views: how many views of each example will be asked for: 1 is the plain one only.
        stored: compute all of them now and keep them (the default), or compute each batch when it is asked for.

    An empty prefix gives the data themselves.
    """
    cut = prefix.cut
    if cut is None:
        return data
    if not stored:
        return Streamed(data, lambda batch: _streamed(prefix, cut, batch))
    return sweep(prefix, [cut], data, views)[0]


def sweep(prefix: Prefix, cuts: Sequence[Cut], data: Dataset, views: int = 1, *, pool: bool = False) -> list[Stored]:
    """The data mapped to each of several cuts, all filled in one forward pass; what is stored is not computed again.

    Of what runs to the last stage the vectors of the stages before are kept beside: the ranking for another task on
    the same examples asks for them, and splits them otherwise.

    Args:
        cuts: in the order of the chain, the last one being the prefix's own or an earlier one.
        pool: keep the mean over positions of each output (a vector), not the output: enough for a probe.
    """
    ids, aligned = prefix.ids(), getattr(data, "aligned", None) is not None
    asked, stages = {cut.name for cut in cuts}, prefix.chain.stages
    every = stages if views == 1 and not aligned and cuts[-1].name == stages[-1].name else cuts
    vectors = {cut.name for cut in every if not aligned and (pool or cut.name not in asked)}
    filled = [_store(prefix, ids[cut.name], cut, cut.name in vectors) for cut in every]
    stores = [store for store, cut in zip(filled, every, strict=True) if cut.name in asked]
    rows, which = (grid.ravel() for grid in np.meshgrid(np.arange(len(data)), np.arange(views), indexing="ij"))
    names = data.keys(rows, which)
    todo = np.flatnonzero(~np.logical_and.reduce([store.has(names) for store in stores]))
    Count.hits += len(rows) - len(todo)
    ragged = prefix.chain.lay(prefix.chain.example) is not None
    step = prefix.form.batch if not ragged else TEXTS if prefix.chain.example[prefix.chain.main].ndim == 1 else READ
    asks = [todo[i : i + step] for i in range(0, len(todo), step)]

    def read(at: np.ndarray) -> Batch:
        return pinned(data.read(rows[at], which[at]), prefix.form.device)

    with (
        tqdm(total=len(todo), desc=f"features at {cuts[-1].name}", unit="ex", delay=2, leave=False) as bar,
        ExitStack() as open_stores,
    ):
        writers = [open_stores.enter_context(gathered(store)) for store in filled] if len(todo) else []
        for at, batch in zip(asks, ahead(read, asks), strict=True):
            batch = data.map(batch)
            batch.pop("y")
            for members, outputs in prefix.batches(batch, list(every), vectors):
                keys = [names[at[one]] for one in members]
                for cut, write in zip(every, writers, strict=True):
                    h = outputs[cut.name]
                    whole = cut.name not in vectors
                    lengths = batch["length"][members] if whole and ragged and cut.unit != "example" else None
                    if whole and prefix.halved(cut):
                        h = h.bfloat16().view(torch.uint16)
                    write(keys, h.numpy(), None if lengths is None else lengths.numpy())
                Count.passes += len(members)
                bar.update(len(members))
    if len(todo):
        home.evict(home.limit(), keep=frozenset(store.prefix for store in filled))
    beside = ("y",) if aligned else ()
    by_row = [not pool and ragged and cut.unit != "example" for cut in cuts]
    return [Stored(data, store, many or aligned, beside) for store, many in zip(stores, by_row, strict=True)]


def _store(prefix: Prefix, name: str, cut: Cut, pool: bool) -> Store:
    if pool and (len(cut.shape) > 1 or cut.unit != "example"):
        blank = torch.zeros(1, *cut.shape)
        return open_store(key(name, "pooled"), "float32", tuple(pooled(blank, cut.channels).shape[1:]))
    if prefix.halved(cut):
        return open_store(key(name, "bfloat16"), "uint16", cut.shape)  # NumPy has no name for it
    return open_store(name, "float32", cut.shape)


def _streamed(prefix: Prefix, cut: Cut, batch: Batch) -> Batch:
    beside = {"length": batch["length"]} if "length" in batch else {}
    Count.passes += len(batch.get("length", batch[prefix.chain.main]))
    return {"h": prefix.run(batch)[cut.name], **beside}
