"""Images: upright RGB pictures to what a network is fed, plain or varied."""

import base64
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
from PIL import Image
from PIL.Image import Transpose

from graft.core.codec import from_dict
from graft.core.errors import DataError, PlanError, nearest
from graft.data import batches, hiding, layout, pictures

if TYPE_CHECKING:
    from torch import nn

WORD = ("photo", "photos")
SUFFIXES = pictures.SUFFIXES
pieces = hiding.squares
RAGGED, ROWS, VIEWS, GROUPED = False, 32, (4, 2), layout.PEOPLE
MOVES = True  # a view is cropped and mirrored: a quantity that is read off the photo may be another one in it
VERSION = f"1, Pillow {PIL.__version__}"  # of what `prepare` and `vary` compute; decoding differs between Pillows
SMALLEST = 112  # side of the photos for training from scratch: a quarter of the work, and a multiple of 14 and 16
AREA = (0.5, 1.0)  # share of the largest possible window that a view keeps: half still shows what a photo is of
STRETCH = 4 / 3  # how far a view may be squeezed or stretched: the range that the pretrained networks saw
JITTER = 0.2  # brightness, contrast and saturation each change by at most this share: mild enough for few examples
REACH = 3  # pixels, of the larger of the two pictures, that the widest filter (lanczos) sees to each side
THUMB = 64  # pixels of a preview's longer side: enough to tell what it shows
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, as JPEG has it


@dataclass(frozen=True)
class Input:
    """What a backbone is fed: photos of `size` (height, width), normalised by mean and std (of 0-1 values)."""

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"  # nearest, bilinear, bicubic, lanczos
    crop: float = 0.875  # share of the resized short side that the centre crop keeps


@dataclass(frozen=True)
class Reading:
    """A photo is read as it is."""


def parse(raw: Mapping[str, Any]) -> Input:
    """A backbone's input.

    Raises:
        PlanError: a field is unknown or out of its range.
    """
    input = from_dict(Input, raw)
    if min(input.size) < 1 or not 0 < input.crop <= 1 or not min(input.std) > 0:
        raise PlanError(
            f"The backbone's input needs a size of 1 or more, a crop within 0 and 1, and a std above 0: {input}."
        )
    return input


def find(place: Path, asked: Mapping[str, Any], labelled: bool = True) -> layout.Found:
    """Photos in class folders, or named by a table."""
    if labelled:
        layout.refuse(asked, ("label", "group", "time", "path"))
    return layout.files(place, SUFFIXES, asked, GROUPED, labelled)


def fetch(item: str, reading: Reading) -> bytes:
    """A file's bytes."""
    return Path(item).read_bytes()


def given(value: Any, reading: Reading) -> bytes:
    """A file's bytes as they were handed over."""
    if not isinstance(value, bytes):
        raise DataError(f"A photo is a file or the bytes of one, not {type(value).__name__}.")
    return value


def suited(input: Mapping[str, Any], reading: Reading, examples: Iterable[Image.Image]) -> dict[str, Any]:
    """The input as it is: photos are brought to the backbone's size, whatever theirs."""
    return dict(input)


def smaller(input: Mapping[str, Any]) -> dict[str, Any]:
    """The same for smaller photos, uncropped."""
    side = min(SMALLEST, *parse(input).size)
    return {**input, "size": [side, side], "crop": 1.0}


def front(input: Input) -> "nn.Module":
    """Raw pixels (B, 3, h, w) uint8 to the floats that a backbone was pretrained on."""
    import torch

    from graft.model.network import Affine

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (input.mean, input.std))
    return Affine(1 / (255 * std), -mean / std)


def ship(examples: Sequence[Mapping[str, np.ndarray]], input: Input) -> dict[str, np.ndarray]:
    """Prepared photos as one batch."""
    return batches.stacked(examples, RAGGED)


def schema(input: Input) -> dict[str, dict[str, Any]]:
    """What the exported network takes."""
    return {"x": {"dtype": "uint8", "shape": ["batch", 3, *input.size], "what": "RGB photo, resized and cropped"}}


def decode(
    source: bytes | str | os.PathLike[str], reading: Reading = Reading(), input: Input | None = None
) -> Image.Image:
    """The first picture of a file, or of a file's bytes; for an `input`, a big one at about the size that it needs.

    Raises:
        DataError: it cannot be decoded to its end.
    """
    return pictures.decode(source, None if input is None else round(min(input.size) / input.crop))


def look(raw: bytes, reading: Reading = Reading()) -> pictures.Look:
    """What a photo shows at a glance.

    Raises:
        DataError: it cannot be decoded to its end.
    """
    return pictures.look(raw)


def preview(example: Image.Image) -> str:
    """A JPEG of at most 64 pixels a side, in base64."""
    small, file = example.copy(), io.BytesIO()
    small.thumbnail((THUMB, THUMB))
    small.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()


def prepare(example: Image.Image, input: Input) -> dict[str, np.ndarray]:
    """What the network is fed: the short side resized to size / crop, then the centre; as timm evaluates.

    Only the part that the crop keeps is resized, so that an extreme shape costs no more than another.

    Shape: x uint8 (3, height, width).
    """
    height, width = input.size
    least_height, least_width = math.floor(height / input.crop), math.floor(width / input.crop)
    if least_height == least_width:  # here torchvision resizes, and cuts the long side's fraction off
        short = min(example.size)
        resized_width, resized_height = (least_height * side // short for side in example.size)
    else:  # here timm does, and rounds
        ratio = min(example.height / least_height, example.width / least_width)
        resized_width, resized_height = (round(side / ratio) for side in example.size)
    left, top = round((resized_width - width) / 2), round((resized_height - height) / 2)
    across, down = example.width / resized_width, example.height / resized_height
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    return {"x": _array(_window(example, box, input))}


def vary(example: Image.Image, input: Input, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An augmented view: a random window, perhaps mirrored, its colours changed a little. The same rng, the same bits.

    Shape: x uint8 (3, height, width).
    """
    height, width = input.size
    largest = min(example.width / width, example.height / height)
    area, stretch = rng.uniform(*AREA), STRETCH ** rng.uniform(-1, 1)
    across = min(example.width, largest * width * math.sqrt(area * stretch))
    down = min(example.height, largest * height * math.sqrt(area / stretch))
    left, top = rng.uniform(0, example.width - across), rng.uniform(0, example.height - down)
    mirrored = rng.random() < 0.5
    factors = rng.uniform(1 - JITTER, 1 + JITTER, 3)
    view = _coloured(_window(example, (left, top, left + across, top + down), input), *factors)
    return {"x": _array(view.transpose(Transpose.FLIP_LEFT_RIGHT) if mirrored else view)}


def example(input: Input, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random prepared examples to trace a network with.

    Shape: x uint8 (n, 3, height, width).
    """
    return {"x": rng.integers(0, 256, (n, 3, *input.size), dtype=np.uint8)}


def _window(picture: Image.Image, box: tuple[float, float, float, float], input: Input) -> Image.Image:
    """A part of a picture at the size that a network expects; box: left, top, right, bottom, also between pixels."""
    try:
        resampling = Image.Resampling[input.interpolation.upper()]
    except KeyError:
        hint = nearest(input.interpolation, [name.lower() for name in Image.Resampling.__members__])
        raise PlanError(f"PIL has no interpolation {input.interpolation!r}.{hint}") from None
    height, width = input.size
    left, top, right, bottom = box
    # Filters reach past the box. What they cannot reach is cut off first: PIL chooses the order of its passes by the
    # whole picture's shape, and keeps places in single precision.
    reach_x, reach_y = (REACH * max(1, span) + 1 for span in ((right - left) / width, (bottom - top) / height))
    x, y = max(0, math.floor(left - reach_x)), max(0, math.floor(top - reach_y))
    end_x, end_y = min(picture.width, math.ceil(right + reach_x)), min(picture.height, math.ceil(bottom + reach_y))
    near = picture.crop((x, y, end_x, end_y))
    inside = (left - x, top - y, min(right - x, near.width), min(bottom - y, near.height))  # rounding may go past
    return near.resize((width, height), resampling, inside)


def _coloured(picture: Image.Image, brightness: float, contrast: float, saturation: float) -> Image.Image:
    """Saturation, contrast and brightness multiplied by these factors, in one sweep without clipping in between."""
    mean = np.asarray(picture.convert("L")).mean().item()
    gain, lift = brightness * contrast, brightness * (1 - contrast) * mean
    matrix: list[float] = []
    for band in range(3):
        matrix += [gain * (saturation * (band == other) + (1 - saturation) * LUMA[other]) for other in range(3)]
        matrix += [lift]
    return picture.convert("RGB", tuple(matrix))


def _array(picture: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))
