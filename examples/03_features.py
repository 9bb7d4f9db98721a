"""The heart of graft on a network of your own: freeze, part it at the boundary, run the frozen part once.

Training on stored features ends in the same weights, to the bit, as running the frozen part on every batch.
"""

import os
from collections import OrderedDict
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

import graft
from graft.core.keys import content_id
from graft.core.shelf import take
from graft.features import Count
from graft.learners.supervised import Objective, fit, optimiser
from graft.model.chain import Chain


class Rows:
    """Tensors as a dataset. Features are stored under the content of a row, so they are found again."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x, self.targets = x, (x.mean((1, 2, 3)) > 0).long().numpy()  # is it bright?

    def __len__(self) -> int:
        return len(self.x)

    def keys(self, rows: np.ndarray, views: np.ndarray) -> list[bytes]:
        return [bytes.fromhex(content_id(self.x[row].numpy().tobytes())) for row in rows]

    def read(self, rows: np.ndarray, views: np.ndarray) -> dict[str, torch.Tensor]:
        return {"input": self.x[rows], "y": torch.from_numpy(self.targets[rows])}

    def map(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return batch


def trained(data: Rows, phase: graft.Phase, stored: bool) -> torch.Tensor:
    """The head's weights after training on frozen features that are kept, or computed for every batch."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Flatten())
    network = nn.Sequential(OrderedDict(body=body, head=nn.Linear(32 * 3 * 3, 2)))
    chain = Chain(network, {"input": data.x[:2]}, main="input")
    boundary = chain.freeze(phase.train)  # the first stage with something to learn: computed, never configured
    prefix, rest = chain.split()
    before, mapped = Count.passes, graft.features(prefix, data, stored=stored)  # a dataset again
    objective = Objective(take("heads", "classification"), "accuracy", weights=None, smoothing=0.0)
    epochs = list(fit(rest, optimiser(chain, phase)[0], mapped, mapped, phase, objective, seed=0))
    print(f"{boundary} stages frozen, {Count.passes - before:>4} passes, loss {epochs[-1].val_loss:.4f}, {stored=}")
    return network.head.weight.detach()


if __name__ == "__main__":
    with TemporaryDirectory() as os.environ["GRAFT_HOME"]:
        rows, phase = Rows(torch.rand(128, 3, 16, 16) - 0.5), graft.Phase(train=("head",), steps=40)
        assert torch.equal(trained(rows, phase, stored=True), trained(rows, phase, stored=False))
        print("the same weights, to the bit")
