"""Heads that are more than a linear layer: numbers in the user's unit, and distances from centres."""

import torch
from numpy.typing import ArrayLike
from torch import nn


class Scaled(nn.Module):
    """(B, width) features → (B, outputs) numbers: (x · weight + bias) · scale + shift.

    What learns is blind to the unit: a rate that suits metres suits millimetres. `scale` and `shift` do not learn; they
    are saved with the weights.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        plain = nn.Linear(width, outputs)
        self.weight, self.bias = plain.weight, plain.bias
        self.register_buffer("scale", torch.ones(outputs))
        self.register_buffer("shift", torch.zeros(outputs))
        self.scale: torch.Tensor
        self.shift: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight, self.bias) * self.scale + self.shift

    def standardise(self, scale: ArrayLike, shift: ArrayLike) -> None:
        """Set the unit that is learned in: the targets' spread and mean (K,)."""
        with torch.no_grad():
            self.scale.copy_(torch.as_tensor(scale))
            self.shift.copy_(torch.as_tensor(shift))

    def install(self, weight: ArrayLike, bias: ArrayLike) -> None:
        """Take over a linear map to the user's unit: weight (K, D) and bias (K,)."""
        scale, shift = self.scale.double().cpu(), self.shift.double().cpu()
        slope, base = (torch.as_tensor(each, dtype=torch.float64, device="cpu") for each in (weight, bias))
        with torch.no_grad():
            self.weight.copy_(slope / scale[:, None])
            self.bias.copy_((base - shift) / scale)


class Nearest(nn.Module):
    """(B, width) features → (B, outputs) squared distances from centres, as negative numbers: 2 c · x - |c|² - |x|²."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        plain = nn.Linear(width, outputs)
        self.weight, self.bias = plain.weight, plain.bias  # 2 c and -|c|²

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight, self.bias) - (x**2).sum(1, keepdim=True)
