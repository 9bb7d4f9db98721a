"""Where a network looks in a photo, by its gradients: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391).

    weight of a place = relu(sum over channels k of mean over places (d logit / d A_k) · A_k)

A is the output of the last stage that still has places: a map of channels, or a transformer's patches. Where a network
answers from its class token alone, the last stage's patches get no gradient, and the stage before is asked.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from graft.model.chain import Chain
from graft.model.cuts import first

LEAST = 2  # places on a side


def gaze(chain: Chain, x: torch.Tensor, outputs: Sequence[int]) -> list[NDArray[np.float64] | None]:
    """For each photo (B, 3, h, w) the weights (rows, columns), from 0 to 1, of where one of its logits comes from.

    None where no stage has places that the logit hangs on.
    """
    seen: dict[str, torch.Tensor] = {}
    network, names = chain.network.eval(), [cut.name for cut in chain.stages]

    def keep(name: str) -> object:
        def hook(module: object, given: object, out: object) -> None:
            tensor = first(out)
            if tensor.requires_grad:
                seen[name] = tensor

        return hook

    hooks = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]  # type: ignore[arg-type]
    learned = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        for parameter, _ in learned:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            logits = network(x)
            asked = [seen[name] for name in names if name in seen]
            total = logits[torch.arange(len(x)), torch.as_tensor(list(outputs))].sum()
            slopes = torch.autograd.grad(total, asked, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, learns in learned:
            parameter.requires_grad_(learns)
    pairs = [
        (_places(a.detach()), _places(slope))
        for a, slope in zip(reversed(asked), reversed(slopes), strict=True)
        if slope is not None
    ]
    return [next((m for a, slope in pairs if (m := _map(a, slope, row)) is not None), None) for row in range(len(x))]


def _map(a: torch.Tensor | None, slope: torch.Tensor | None, row: int) -> NDArray[np.float64] | None:
    if a is None or slope is None:
        return None
    seen = (slope[row].mean((1, 2), keepdim=True) * a[row]).sum(0).clamp(min=0)
    most = float(seen.max())
    return np.asarray(seen / most, np.float64) if most > 0 and math.isfinite(most) else None


def _places(out: torch.Tensor) -> torch.Tensor | None:
    """A stage's output as (B, channels, rows, columns); None where it has no places."""
    if out.ndim == 3:  # tokens, those that are no patch in front
        side = math.isqrt(out.shape[1])
        out = out[:, out.shape[1] - side * side :].transpose(1, 2).unflatten(2, (side, side))
    elif out.ndim == 4 and out.shape[1] == out.shape[2] != out.shape[3]:  # channels last, as Swin's are
        out = out.permute(0, 3, 1, 2)
    return out if out.ndim == 4 and min(out.shape[2:]) >= LEAST else None
