"""Prepared examples put together into batches and taken apart again; numpy alone, since a predictor needs no torch."""

from collections.abc import Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]
BESIDE = ("word",)  # what only says how answers lie, and no network is fed


def stacked(examples: Sequence[Arrays], ragged: bool) -> dict[str, np.ndarray]:
    """Examples as one batch: ragged ones with their rows behind one another, and "length" (n,)."""
    names = [name for name in examples[0] if name not in BESIDE]
    if not ragged:
        return {name: np.stack([one[name] for one in examples]) for name in names}
    batch = {name: np.concatenate([one[name] for one in examples]) for name in names}
    return {**batch, "length": np.array([len(one["x"]) for one in examples], np.int64)}


def unstacked(batch: Arrays) -> list[dict[str, np.ndarray]]:
    """The examples of a batch."""
    if "length" not in batch:
        return [{name: array[at] for name, array in batch.items()} for at in range(len(next(iter(batch.values()))))]
    ends = np.cumsum(batch["length"])
    rows = [slice(int(end - length), int(end)) for end, length in zip(ends, batch["length"], strict=True)]
    return [{name: array[row] for name, array in batch.items() if name != "length"} for row in rows]


def windows(examples: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Windows as an exported network takes them: x (P, …), and share (B, P), which makes the mean over an example's."""
    batch = stacked(examples, ragged=True)
    share = np.repeat(np.eye(len(examples), dtype=np.float32) / batch["length"][:, None], batch["length"], axis=1)
    return {"x": batch["x"], "share": np.ascontiguousarray(share, np.float32)}
