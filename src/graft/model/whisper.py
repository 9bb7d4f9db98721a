"""Whisper's encoder (Radford et al., 2022) for windows shorter than the half minute that it was trained on.

The library's encoder takes exactly as many frames as it has positions. It is built with the positions of the window,
and given the first ones of the published table (`hearing.convert`): a window then costs what it is long, not what half
a minute costs.
"""

import copy
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from graft.core.errors import BackboneError
from graft.model import lean
from graft.model.pickles import read

State = dict[str, Tensor]

NAMES = {  # OpenAI's, on the left, beside transformers'
    r"^blocks\.": "layers.",
    r"\.attn_ln\.": ".self_attn_layer_norm.",
    r"\.mlp_ln\.": ".final_layer_norm.",
    r"\.mlp\.0\.": ".fc1.",
    r"\.mlp\.2\.": ".fc2.",
    r"\.attn\.query\.": ".self_attn.q_proj.",
    r"\.attn\.key\.": ".self_attn.k_proj.",
    r"\.attn\.value\.": ".self_attn.v_proj.",
    r"\.attn\.out\.": ".self_attn.out_proj.",
    r"^ln_post\.": "layer_norm.",
    r"^positional_embedding$": "embed_positions.weight",
}


class Size(NamedTuple):
    """What tells one Whisper's encoder from another's."""

    width: int
    heads: int
    layers: int
    bands: int = 80


SIZES = {
    "tiny": Size(384, 6, 4),
    "base": Size(512, 8, 6),
    "small": Size(768, 12, 12),
    "medium": Size(1024, 16, 24),
    "large": Size(1280, 20, 32),
}


class Whisper(nn.Module):
    """Log-mel windows (P, frames, bands) to the mean over what the encoder makes of them: (P, width).

    Args:
        made: one of the sizes above, or the library's own WhisperConfig.
        frames: of a window; 0: as many as the network was trained on.

    Raises:
        BackboneError: the network has no positions for so many frames.
    """

    def __init__(self, made: Any, frames: int = 0) -> None:
        lean.transformers()
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        super().__init__()
        config = _config(made) if isinstance(made, Size) else copy.deepcopy(made)
        most = config.max_source_positions
        if not 0 <= frames <= 2 * most:
            raise BackboneError(f"Whisper takes windows of at most {2 * most} frames, not of {frames}.")
        config.max_source_positions = -(-frames // 2) or most
        config.encoder_layerdrop = 0.0  # would strike a frozen prefix too
        self.model = WhisperEncoder(config)
        self.pool = Mean()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if x.shape[1] % 2:  # a position stands on two frames
            x = torch.cat([x, x[:, -1:]], 1)
        return self.pool(self.model(x.transpose(1, 2)).last_hidden_state)  # type: ignore[no-any-return]


class Mean(nn.Module):
    """The mean over frames, or over the first few tokens only: (P, tokens, D) → (P, D)."""

    def __init__(self, first: int | None = None) -> None:
        super().__init__()
        self.first = first

    def extra_repr(self) -> str:
        """Part of the content key of what it computes."""
        return str(self.first)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x[:, : self.first].mean(1)


def openai(file: Path, net: nn.Module) -> State:
    """The encoder in a file of OpenAI's, under this network's names, with all 1500 positions."""
    state = {}
    for old, tensor in read(file).items():
        if old.startswith("encoder."):
            name = old.removeprefix("encoder.")
            for pattern, new in NAMES.items():
                name = re.sub(pattern, new, name)
            state[f"model.{name}"] = tensor
    return state


def _config(size: Size) -> Any:
    from transformers import WhisperConfig

    return WhisperConfig(
        d_model=size.width,
        encoder_attention_heads=size.heads,
        encoder_layers=size.layers,
        encoder_ffn_dim=4 * size.width,
        num_mel_bins=size.bands,
    )
