"""Encoders of sound from the transformers library as bodies: windows in, one vector a window out.

wav2vec 2.0, HuBERT, WavLM and their like hear samples (P, n); Whisper and the Audio Spectrogram Transformer see mel
spectra (P, frames, bands), of fewer frames than they were trained on where the window is shorter.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, cat, nn

from graft.core.errors import BackboneError
from graft.model.whisper import Mean, Whisper

SPECTROGRAM = "audio-spectrogram-transformer"
TOKENS = 2  # of a spectrogram transformer: one for the class, one for what it was distilled from
OLDER = {  # names in published files of spectrogram transformers, beside those of the library's version 5
    r"^encoder\.layer\.": "layers.",
    r"\.attention\.attention\.(q|k|v)(uery|ey|alue)\.": r".attention.\1_proj.",
    r"\.attention\.output\.dense\.": ".attention.o_proj.",
    r"\.intermediate\.dense\.": ".mlp.fc1.",
    r"\.output\.dense\.": ".mlp.fc2.",
}
LONGEST = 10.0  # seconds of a window of samples, where a network sets no limit: their first layers need much memory


class Hearing(nn.Module):
    """A model of the library and the mean over the frames that it makes of each window: (P, width).

    A spectrogram transformer answers by its first two tokens, and only they were trained in its last layer: there the
    mean is over these. What such models leave out at random while they train (stretches of the input, whole layers) is
    turned off: it hides in the parent, where it would strike a frozen prefix too, though that is in eval mode.

    Args:
        model: headless, as `AutoModel` gives.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        config: Any = model.config
        for switch, off in {"apply_spec_augment": False, "layerdrop": 0.0}.items():
            if hasattr(config, switch):
                setattr(config, switch, off)
        for module in model.modules():  # some keep their own copy
            if hasattr(module, "layerdrop"):
                module.layerdrop = 0.0  # type: ignore[assignment]
        if hasattr(model, "masked_spec_embed"):  # stood where the input was hidden: a parameter that nothing trains now
            del model.masked_spec_embed
        self.model, self.pool = model, Mean(TOKENS if config.model_type == SPECTROGRAM else None)

    def forward(self, x: Tensor) -> Tensor:
        """Samples (P, n) or spectra (P, frames, bands) → (P, width)."""
        return self.pool(self.model(input_values=x).last_hidden_state)  # type: ignore[no-any-return]


def listener(kind: str, config: Any, frames: int = 0) -> nn.Module:
    """The empty body of a kind ("whisper", "wav2vec2", …), whose `model` is the library's own.

    Args:
        config: the library's configuration of it.
        frames: of a window, for those that see spectra; 0: as many as the network was trained on.

    Raises:
        BackboneError: the network has no positions for so many frames.
    """
    from transformers import AutoModel

    if kind == "whisper":
        return Whisper(config, frames)
    if kind == SPECTROGRAM and frames:
        if not config.patch_size <= frames <= config.max_length:
            limits = f"{config.patch_size} to {config.max_length}"
            raise BackboneError(f"This network takes windows of {limits} frames, not of {frames}.")
        config = copy.deepcopy(config)
        config.max_length = frames
    return Hearing(AutoModel.from_config(config))


def convert(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The same weights under the network's names, with as many positions as it has: those of the first frames."""
    wanted = module.state_dict()
    out = {name if name in wanted else _newer(name): tensor for name, tensor in state.items()}
    for name, table in list(out.items()):
        if name not in wanted or wanted[name].shape == table.shape:
            continue
        if name.endswith("embed_positions.weight"):
            out[name] = table[: len(wanted[name])]
        elif name.endswith("position_embeddings"):  # band by band, behind the tokens
            inner: Any = module.get_submodule(name.rpartition(".")[0])
            high, wide = inner.get_shape(inner.config)
            grid = table[:, TOKENS:].unflatten(1, (high, -1))[:, :, :wide].flatten(1, 2)
            out[name] = cat([table[:, :TOKENS], grid], 1)
    return out


def _newer(name: str) -> str:
    for pattern, new in OLDER.items():
        name = re.sub(pattern, new, name)
    return name


def input_of(kind: str, config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a network of a kind is fed, by its configuration and its feature extractor's settings."""
    rate = int(settings.get("sampling_rate", 16_000))
    if kind == "whisper":
        hop = int(settings.get("hop_length", 160))
        mel: dict[str, Any] = {"bands": config.get("num_mel_bins", 80), "frame": settings.get("n_fft", 400), "hop": hop}
        longest = 2 * config.get("max_source_positions", 1500) * hop / rate
        return {"rate": rate, "longest": longest, "mel": {**mel, "mean": -40.0, "std": 40.0}}
    if kind == SPECTROGRAM:
        frames, mel = config.get("max_length", 1024), {"family": "kaldi", "bands": config.get("num_mel_bins", 128)}
        if settings.get("do_normalize", True):
            mel |= {"mean": settings.get("mean", -4.2677393), "std": 2 * settings.get("std", 4.5689974)}
        return {"rate": rate, "longest": (400 + 160 * (frames - 1)) / rate, "mel": {**mel, "unit": "log", "depth": 0.0}}
    return {"rate": rate, "longest": LONGEST, "standardised": bool(settings.get("do_normalize", True))}
