"""Examples as a person is shown them, small enough for a page: a thumbnail, a few seconds to hear, a trace, a row.

Each gives the fields of a Closeup.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

THUMBNAIL = 224  # pixels of the long side
HEARD = 5.0  # seconds of a clip
CHANNELS, POINTS = 8, 300  # of a trace
CELLS = 500  # of a row, of which a page shows a few


def photo(picture: Image.Image) -> dict[str, Any]:
    """A thumbnail."""
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return {"kind": "photo", "photo": _uri("image/jpeg", stream)}


def sound(samples: np.ndarray, rate: int) -> dict[str, Any]:
    """The first seconds to hear, as MP3 where libsndfile writes it, which every browser plays; and their shape."""
    import soundfile

    part, stream = samples[: round(HEARD * rate)], io.BytesIO()
    kind = ("MP3", "audio/mpeg") if "MP3" in soundfile.available_formats() else ("WAV", "audio/wav")
    soundfile.write(stream, np.clip(part, -1, 1), rate, format=kind[0])
    drawn = signal(samples[None], (), rate)
    return drawn | {"kind": "sound", "sound": _uri(kind[1], stream)}


def signal(x: np.ndarray, channels: Sequence[str], rate: float) -> dict[str, Any]:
    """Channels of few points, which keep every peak: the least and the most of each stretch, in turn."""
    count, kept = x.shape[1], np.nan_to_num(x[:CHANNELS].astype(np.float64))
    if count > POINTS:
        edges = np.linspace(0, count, POINTS // 2 + 1).astype(int)[:-1]
        ends = np.stack([np.minimum.reduceat(kept, edges, 1), np.maximum.reduceat(kept, edges, 1)], 2)
        kept = ends.reshape(len(kept), -1)
    traces = tuple(tuple(float(f"{value:.4g}") for value in channel) for channel in kept)
    return {"kind": "signal", "channels": tuple(channels[:CHANNELS]), "traces": traces, "seconds": count / rate}


def row(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The first columns and their values."""
    told = [(str(name), "" if value is None else str(value)) for name, value in cells.items()]
    return {"kind": "row", "cells": tuple(told[:CELLS])}


def _uri(kind: str, stream: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
