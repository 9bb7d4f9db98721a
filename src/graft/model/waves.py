"""Networks for signals, windows (P, channels, samples) → (P, width): EEGNet, a residual network, an ECG transformer.

EEGNet: Lawhern et al. 2018. The residual network: after Wang, Yan and Oates 2017. The transformer has the layout of the
codec of the package openecg, whose weights it takes (`ecg_weights`).
"""

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from graft.core.errors import BackboneError

BINS = 4  # stretches of a window that EEGNet keeps apart, as the paper keeps all: what happens when may matter
WIDTHS, STRIDES, KERNELS = (32, 64, 128, 128), (1, 2, 2, 2), (7, 5, 3)
PATCH, DIM, HEADS, LOWER, UPPER, WIDE, REACH = 10, 128, 4, 4, 4, 256, 7  # of the ECG transformer
PLACES = 512  # patches that its position code counts: 10.24 s at 500 Hz


def eegnet(
    channels: int, samples: int, rate: float = 0.0, filters: int = 8, depth: int = 2, dropout: float = 0.25
) -> nn.Sequential:
    """EEGNet-F,D: filters in time, then across channels for each of them, then in time again.

    Args:
        samples: of a window.
        rate: Hz; the paper's filters span 0.5 s. 0: a 64th of the window.
        filters, depth: F1 and D; the second block has F1 · D filters.
        dropout: 0.25 is the paper's for subjects that were not seen.

    Shape: (P, channels, samples) → (P, filters · depth · BINS).
    """
    wide = filters * depth
    first = _odd(rate / 2 if rate else samples / 64, samples)
    pool = max(1, min(4, samples // 16))
    second = _odd(rate / pool / 2 if rate else samples / 64, max(1, samples // pool))
    temporal = nn.Sequential(
        nn.Unflatten(1, (1, channels)),
        nn.Conv2d(1, filters, (1, first), padding=(0, first // 2), bias=False),
        nn.BatchNorm2d(filters),
    )
    spatial = nn.Sequential(
        nn.Conv2d(filters, wide, (channels, 1), groups=filters, bias=False),
        nn.BatchNorm2d(wide),
        nn.ELU(),
        nn.AvgPool2d((1, pool)),
        nn.Flatten(2),
        nn.Dropout(dropout),
    )
    # Of one dimension: oneDNN never returns from long depthwise kernels over maps in bfloat16 with channels last.
    separable = nn.Sequential(
        nn.Conv1d(wide, wide, second, padding=second // 2, groups=wide, bias=False),
        nn.Conv1d(wide, wide, 1, bias=False),
        nn.BatchNorm1d(wide),
        nn.ELU(),
        nn.Dropout(dropout),
    )
    pooled = nn.Sequential(Bins(BINS), nn.Flatten(1))
    return nn.Sequential(temporal, spatial, separable, pooled).eval()


def _odd(length: float, most: int) -> int:
    """The odd length next to one, and within the signal: convolutions then keep the number of samples."""
    return max(3, min(2 * round((length - 1) / 2) + 1, most - 1 + most % 2))


class Bins(nn.Module):
    """The means over equal stretches of time, however long the signal: (P, C, T) → (P, C, bins)."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def extra_repr(self) -> str:
        """Part of the content key of what it computes."""
        return str(self.bins)

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[-1]
        edges = [round(count * i / self.bins) for i in range(self.bins + 1)]
        if count < self.bins:
            return x.mean(-1, keepdim=True).expand(*x.shape[:-1], self.bins)
        return torch.stack([x[..., a:b].mean(-1) for a, b in pairwise(edges)], -1)


class Residual(nn.Module):
    """Three convolutions of falling length and a way around them; the first may halve the number of samples."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = inside
        for index, kernel in enumerate(KERNELS):
            step = stride if index == 0 else 1
            layers += [
                nn.Conv1d(width, outside, kernel, step, kernel // 2, bias=False),
                nn.BatchNorm1d(outside),
                nn.ReLU(),
            ]
            width = outside
        self.body = nn.Sequential(*layers[:-1])
        around = nn.Conv1d(inside, outside, 1, stride, bias=False)
        self.around = nn.Sequential(around, nn.BatchNorm1d(outside))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.around(x))  # type: ignore[no-any-return]


def resnet1d(channels: int) -> nn.Sequential:
    """Four residual blocks over windows of any length, then their mean: half a million weights.

    Shape: (P, channels, samples) → (P, 128).
    """
    sizes = zip((channels, *WIDTHS), WIDTHS, STRIDES, strict=False)
    blocks = [Residual(inside, outside, stride) for inside, outside, stride in sizes]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(1)).eval()


class Patches(nn.Module):
    """One lead in patches of ten samples, each looking five samples further to both sides, and where each stands."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv1d(1, DIM, 2 * PATCH, PATCH, PATCH // 2)
        place = torch.arange(PLACES).float()[:, None]
        turn = torch.exp(torch.arange(0, DIM, 2).float() * (-math.log(10000.0) / DIM))
        code = torch.stack([torch.sin(place * turn), torch.cos(place * turn)], -1).flatten(1)
        self.register_buffer("places", code[None])
        self.places: Tensor

    def forward(self, x: Tensor) -> Tensor:
        rows = self.cut(x).transpose(1, 2)
        if rows.shape[1] > PLACES:
            raise BackboneError(
                f"The ECG transformer hears at most {PLACES * PATCH} samples, not {x.shape[-1]}: take shorter windows."
            )
        return rows + self.places[:, : rows.shape[1]]  # type: ignore[no-any-return]


class Local(nn.Module):
    """What stands in neighbouring patches: a convolution with a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(DIM, DIM, REACH, padding=REACH // 2)
        self.norm = nn.LayerNorm(DIM)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.norm(nn.functional.gelu(seen) + x)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """What stands anywhere: a transformer's layer, normalised before each half."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.wide, self.narrow = nn.Linear(DIM, WIDE), nn.Linear(WIDE, DIM)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(self.norm1(x)).unflatten(2, (3, HEADS, DIM // HEADS)).permute(2, 0, 3, 1, 4)
        drop = self.dropout.p if self.training else 0.0
        mixed = nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], dropout_p=drop)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        wide = self.dropout(nn.functional.gelu(self.wide(self.norm2(x))))
        return x + self.dropout(self.narrow(wide))  # type: ignore[no-any-return]


class Mean(nn.Module):
    """The mean over the patches: (P, patches, width) → (P, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def ecg_transformer() -> nn.Sequential:
    """Four local and four global layers over patches of 20 ms: one lead at 500 Hz, each window ranked to -1 … 1.

    Shape: (P, 1, samples), at most 5120 samples → (P, 128).
    """
    layers = [Patches(), *(Local() for _ in range(LOWER)), *(Attention() for _ in range(UPPER)), Mean()]
    return nn.Sequential(*layers).eval()


def ecg_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an openecg codec (its "model_state") under the names of `ecg_transformer`.

    Its three heads and the convolutions that bring patches back to samples for them are left behind.

    Raises:
        BackboneError: they are not those of such a codec.
    """
    halves = {
        "self_attn.in_proj_": "qkv.", "self_attn.out_proj.": "out.", "linear1.": "wide.", "linear2.": "narrow.",
        "norm1.": "norm1.", "norm2.": "norm2.",
    }  # fmt: skip
    names = {"0.cut.weight": "conv_tok.weight", "0.cut.bias": "conv_tok.bias", "0.places": "pos_enc"}
    for kind in ("weight", "bias"):
        for i in range(LOWER):
            names[f"{1 + i}.conv.{kind}"] = f"lower_convs.{i}.{kind}"
            names[f"{1 + i}.norm.{kind}"] = f"lower_norms.{i}.{kind}"
        for i in range(UPPER):
            for theirs, ours in halves.items():
                names[f"{1 + LOWER + i}.{ours}{kind}"] = f"upper_transformer.layers.{i}.{theirs}{kind}"
    if absent := [theirs for theirs in names.values() if theirs not in state]:
        raise BackboneError(f"These are not the weights of an openecg codec: there is no {absent[0]}.")
    return {ours: state[theirs] for ours, theirs in names.items()}
