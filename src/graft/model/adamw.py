"""AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101) by torch's fused kernel.

The steps of `torch.optim.AdamW(…, fused=True)`, to the bit. That class loads torch's compiler where it is first used,
which takes seconds, and nothing is compiled here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

SLOTS = ("exp_avg", "exp_avg_sq")
BETAS, EPSILON = (0.9, 0.999), 1e-8


class AdamW:
    """An optimiser of float32 parameters, all on one device.

    Args:
        groups: parameters ("params") with their rate ("lr") and decay ("weight_decay"); what else they hold is kept.
    """

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        self.param_groups = list(groups)
        self._state: dict[torch.Tensor, dict[str, torch.Tensor]] = {}

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Let more parameters learn."""
        self.param_groups.append(group)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self._parameters():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients; parameters that have none stay where they are."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            held = [self._held(parameter) for parameter in moved]
            steps, first, second = ([one[slot] for one in held] for slot in ("step", *SLOTS))
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                moved, [parameter.grad for parameter in moved], first, second, [], steps, lr=group["lr"],
                beta1=BETAS[0], beta2=BETAS[1], weight_decay=group["weight_decay"], eps=EPSILON, amsgrad=False,
                maximize=False,
            )  # fmt: skip

    def state(self) -> dict[str, torch.Tensor]:
        """What a run that goes on needs of it: moments and steps, by the parameters' places."""
        known = enumerate(self._state.get(parameter, {}) for parameter in self._parameters())
        return {f"{at}/{slot}": tensor for at, held in known for slot, tensor in held.items()}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a state, each moment in the memory layout of its parameter: the kernel walks both side by side."""
        parameters = list(self._parameters())
        for name, tensor in state.items():
            at, _, slot = name.partition("/")
            self._held(parameters[int(at)])[slot].copy_(tensor)

    def _parameters(self) -> Iterator[torch.Tensor]:
        return (parameter for group in self.param_groups for parameter in group["params"])

    def _held(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        if parameter not in self._state:
            blank = {slot: torch.zeros_like(parameter, memory_format=torch.preserve_format) for slot in SLOTS}
            self._state[parameter] = {"step": torch.zeros((), dtype=torch.float32, device=parameter.device), **blank}
        return self._state[parameter]
