"""Two speaker encoders: GE2E's LSTM (Wan et al., 2018) and ECAPA-TDNN (Desplanques et al., 2020).

Mel spectra (P, frames, bands) in, one vector a window (P, width) out. Every stage hands on a single tensor, so that the
network can be cut between any two. `ge2e` and `ecapa` read published weights under these networks' names.
"""

import re
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import flop_registry, register_flop_formula

from graft.model.pickles import read

State = dict[str, Tensor]

CHANNELS, POOLED, VOICE = 1024, 3072, 192  # of ECAPA's blocks, of its pooling, of what it gives
SCALE, SQUEEZE = 8, 128  # parts of a Res2Net block; width inside squeezes and attentions
LEAST = 1e-12  # variance below which a spread counts as none


class GE2E(nn.Sequential):
    """Three LSTM layers over the frames, the last frame's state, and a rectified vector of length 1: (P, 256)."""

    def __init__(self, bands: int = 40, width: int = 256, layers: int = 3) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for index in range(layers):
            parts[f"lstm{index}"] = Recurrent(width if index else bands, width)
        parts |= {"last": Last(), "linear": nn.Linear(width, width), "relu": nn.ReLU(), "unit": Unit()}
        super().__init__(parts)


class Recurrent(nn.LSTM):
    """One LSTM layer that gives its output at every frame alone: (P, frames, inside) → (P, frames, outside)."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """See the class."""
        return super().forward(x)[0]


class Last(nn.Module):
    """The last frame: (P, frames, D) → (P, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x[:, -1]


class Unit(nn.Module):
    """Vectors brought to length 1: (P, D) → (P, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return functional.normalize(x, dim=-1)


class Ecapa(nn.Sequential):
    """Four blocks of convolutions over time, attentive pooling over the frames, and a voice: (P, 192)."""

    def __init__(self, bands: int = 80, channels: int = CHANNELS, pooled: int = POOLED, width: int = VOICE) -> None:
        blocks = [Gathering(channels, dilation, past=index) for index, dilation in enumerate((2, 3, 4))]
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            turn=Turn(),
            blocks=nn.Sequential(Delayed(bands, channels, 5), *blocks),
            mfa=Delayed(3 * channels, pooled, 1),
            asp=Attentive(pooled),
            asp_bn=nn.BatchNorm1d(2 * pooled),
            fc=nn.Conv1d(2 * pooled, width, 1),
            flat=nn.Flatten(),
        )
        super().__init__(parts)


class Turn(nn.Module):
    """Time last: (P, frames, D) → (P, D, frames)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x.transpose(1, 2)


class Delayed(nn.Module):
    """A convolution over time with mirrored edges, rectified and normalised: (P, D, frames) → (P, E, frames)."""

    def __init__(self, inside: int, outside: int, size: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inside, outside, size, dilation=dilation, padding="same", padding_mode="reflect")
        self.norm = nn.BatchNorm1d(outside)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.norm(functional.relu(self.conv(x)))  # type: ignore[no-any-return]


class Res2Net(nn.Module):
    """Channels in eight parts: each but the first is convolved, together with what became of the one before."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        part = channels // SCALE
        self.blocks = nn.ModuleList([Delayed(part, part, 3, dilation) for _ in range(SCALE - 1)])

    def forward(self, x: Tensor) -> Tensor:
        """(P, D, frames) → (P, D, frames)."""
        first, *others = x.chunk(SCALE, 1)
        made = [first]
        for index, (part, block) in enumerate(zip(others, self.blocks, strict=True)):
            made.append(block(part + made[-1] if index else part))
        return torch.cat(made, 1)


class Squeeze(nn.Module):
    """Channels weighed by what they all hold on average (squeeze and excitation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(channels, SQUEEZE, 1), nn.Conv1d(SQUEEZE, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(P, D, frames) → (P, D, frames)."""
        inner = functional.relu(self.conv1(x.mean(2, keepdim=True)))
        return x * torch.sigmoid(self.conv2(inner))


class Gathering(nn.Module):
    """One SE-Res2Net block with its shortcut, which hands on what it made behind what the `past` ones made.

    Pooling sees all blocks. Carried along like this they are one tensor, where the network can be cut.
    """

    def __init__(self, channels: int, dilation: int, past: int) -> None:
        super().__init__()
        self.channels, self.past = channels, past
        self.tdnn1, self.tdnn2 = Delayed(channels, channels, 1), Delayed(channels, channels, 1)
        self.res2net_block = Res2Net(channels, dilation)
        self.se_block = Squeeze(channels)

    def forward(self, h: Tensor) -> Tensor:
        """(P, max(1, past)·D, frames) → (P, (past + 1)·D, frames)."""
        x = h[:, -self.channels :]
        x = x + self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x))))
        return torch.cat([h, x], 1) if self.past else x


class Attentive(nn.Module):
    """Mean and spread over the frames, each channel attending to frames of its own: (P, D, frames) → (P, 2·D, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tdnn = Delayed(3 * channels, SQUEEZE, 1)
        self.conv = nn.Conv1d(SQUEEZE, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        mean = x.mean(2, keepdim=True)
        spread = (x - mean).square().mean(2, keepdim=True).clamp(LEAST).sqrt()
        seen = torch.cat([x, mean.expand_as(x), spread.expand_as(x)], 1)
        share = self.conv(self.tdnn(seen).tanh()).softmax(2)
        mean = (share * x).sum(2, keepdim=True)
        spread = (share * (x - mean).square()).sum(2, keepdim=True).clamp(LEAST).sqrt()
        return torch.cat([mean, spread], 1)


def ge2e(file: Path, net: nn.Module) -> State:
    """Resemblyzer's weights: one LSTM of three layers, `lstm.weight_ih_l1` being ours `lstm1.weight_ih_l0`."""
    return {re.sub(r"^lstm\.(\w+)_l(\d)$", r"lstm\2.\1_l0", old): tensor for old, tensor in read(file).items()}


def ecapa(file: Path, net: nn.Module) -> State:
    """SpeechBrain's weights, whose layers lie within wrappers: `tdnn1.norm.norm.bias` is ours `tdnn1.norm.bias`."""
    return {re.sub(r"\.(conv|norm)\.(\w+)$", r".\2", old): tensor for old, tensor in read(file).items()}


if torch.ops.aten.mkldnn_rnn_layer not in flop_registry:  # else all stages of an LSTM look as if they cost nothing

    @register_flop_formula(torch.ops.aten.mkldnn_rnn_layer)
    def _lstm_flops(x: torch.Size, inside: torch.Size, outside: torch.Size, *_: object, **__: object) -> int:
        """Of one layer: every frame of every window meets both matrices."""
        frames, windows, _width = x
        return 2 * frames * windows * (inside[0] * inside[1] + outside[0] * outside[1])
