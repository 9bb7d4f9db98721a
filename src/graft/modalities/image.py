"""Images: files and bytes in, upright 8-bit RGB pictures and (3, height, width) arrays out.

Colour profiles are not applied: the pretrained networks saw none. Sixteen-bit and floating-point greys are scaled by
their range, never clipped; what is transparent shows white. A file that does not decode to its last pixel is refused.
"""

import io
import math
import os
import re
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile, DibImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from graft.core.errors import DataError, PlanError, nearest
from graft.core.nouns import Input

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
)
MAX_PIXELS = (
    89_478_485  # PIL's own line, above which it warns of a bomb: 0.36 GB in memory, and more than most cameras have
)
HASH_SHORT = 16  # short side in pixels that a difference hash of 9 × 8 still needs
AREA = (0.5, 1.0)  # share of the largest possible window that a view keeps: half still shows what a photo is of
STRETCH = 4 / 3  # how far a view's shape may be squeezed or stretched: the range that the pretrained networks saw
JITTER = 0.2  # brightness, contrast and saturation each change by at most this share: mild enough for few examples
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, as PIL and JPEG have it

# The plugins are called directly: Image.open would try forty formats, and warn of a bomb before we can refuse it.
KNOWN: tuple[tuple[bytes, str, type[ImageFile.ImageFile]], ...] = (
    (rb"\xff\xd8\xff", "JPEG", JpegImageFile),
    (rb"\x89PNG\r\n\x1a\n", "PNG", PngImageFile),
    (rb"RIFF....WEBP", "WebP", WebPImageFile),
    (rb"GIF8[79]a", "GIF", GifImageFile),
    (rb"BM", "BMP", BmpImageFile),
    (rb"[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "DIB", DibImageFile),
    (rb"II[*+]\0|MM\0[*+]", "TIFF", TiffImageFile),
    (rb"P[1-6f]\s", "PPM", PpmImageFile),
)
STRANGERS = (
    (rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)", "an HTML page"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", "an SVG drawing; save it as PNG"),
    (rb"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", "a HEIC photo; save it as JPEG"),
    (rb"....ftypavi[fs]", "an AVIF image; save it as JPEG or PNG"),
    (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", "a video"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image; save it as JPEG or PNG"),
    (rb"8BPS", "a Photoshop document; save it as PNG"),
    (rb"PK\x03\x04", "a ZIP archive; unpack it"),
    (rb"\x1f\x8b", "gzip data; unpack it"),
    (rb"%PDF", "a PDF document"),
)
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112  # EXIF tag
# PIL's remarks on odd metadata. Never taken back: catch_warnings swaps a list that all threads share.
REMARKS = ("ignore", None, UserWarning, re.compile(r"PIL\."), 0)


@dataclass(frozen=True)
class Look:
    """What an image shows at a glance."""

    width: int  # upright, in pixels
    height: int
    format: str  # JPEG, PNG, …
    mode: str  # as stored, in PIL's words: RGB, L, P, I;16, CMYK, …
    hash: int  # 64-bit difference hash: near-duplicates differ in few bits; pictures without any contrast all have 0


def decode(source: bytes | str | os.PathLike[str], short: int | None = None) -> Image.Image:
    """The first picture of a file or of its bytes: RGB, upright, transparency over white.

    With `short`, a big JPEG may come at a half, a quarter or an eighth of its size, its short side at least 2 × `short`.

    Raises:
        DataError: empty, not an image, truncated or damaged, too many pixels, or unreadable; a short reason.
    """
    return _read(source, short)[0]


def look(data: bytes) -> Look:
    """Size, format and difference hash of an image that decodes to its end; cheap for big JPEGs.

    Raises:
        DataError: as `decode` does.
    """
    picture, (width, height), kind, mode = _read(data, HASH_SHORT)
    grey = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX))
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return Look(width, height, kind, mode, int.from_bytes(bits.tobytes(), "big"))


def prepare(example: Image.Image, input: Input) -> dict[str, np.ndarray]:
    """What the network is fed: the short side resized to size / crop, then the centre; as timm evaluates.

    Only the part that the crop keeps is resized, so that an extreme shape costs no more than another.

    Shape: x uint8 (3, height, width).
    """
    height, width = input.size
    full_width, full_height = example.size
    short_height, short_width = math.floor(height / input.crop), math.floor(width / input.crop)
    if short_height == short_width:  # the long side is cut off, not rounded, here only: torchvision's Resize
        short = min(full_width, full_height)
        resized_width, resized_height = (int(short_height * side / short) for side in example.size)
    else:
        ratio = min(full_height / short_height, full_width / short_width)
        resized_width, resized_height = (round(side / ratio) for side in example.size)
    left, top = round((resized_width - width) / 2), round((resized_height - height) / 2)
    across, down = full_width / resized_width, full_height / resized_height
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    return {"x": _array(_window(example, box, input))}


def vary(example: Image.Image, input: Input, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An augmented view: a random window, perhaps mirrored, its colours changed a little; the same bits for the same rng.

    Shape: x uint8 (3, height, width).
    """
    height, width = input.size
    full_width, full_height = example.size
    largest = min(full_width / width, full_height / height)
    area, stretch = rng.uniform(*AREA), math.exp(rng.uniform(-1, 1) * math.log(STRETCH))
    across = min(full_width, largest * width * math.sqrt(area * stretch))
    down = min(full_height, largest * height * math.sqrt(area / stretch))
    left, top = rng.uniform(0, full_width - across), rng.uniform(0, full_height - down)
    mirrored = rng.random() < 0.5
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3)
    view = _window(example, (left, top, left + across, top + down), input)
    view = _coloured(view, brightness, contrast, saturation)
    return {"x": _array(view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else view)}


def example(input: Input, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random prepared examples to trace a network with.

    Shape: x uint8 (n, 3, height, width).
    """
    return {"x": rng.integers(0, 256, (n, 3, *input.size), dtype=np.uint8)}


def _read(source: bytes | str | os.PathLike[str], short: int | None) -> tuple[Image.Image, tuple[int, int], str, str]:
    """The picture, its full upright size, its format and its stored mode."""
    if REMARKS not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    try:
        stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise DataError(f"{os.fspath(source)} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    with stream:
        kind, plugin = _recognised(stream)
        try:
            image = plugin(stream)
            size, mode = image.size, image.mode
            if size[0] * size[1] <= MAX_PIXELS:
                if short is not None:
                    image.draft("RGB", (2 * short, 2 * short))  # does nothing to other formats than JPEG
                image.load()
                picture = _rgb(image)
                if turn := UPRIGHT.get(_orientation(image)):
                    picture = picture.transpose(turn)
                    size = size if turn in list(UPRIGHT.values())[:3] else size[::-1]
                return picture, size, kind, mode
        except Exception as error:  # whatever a hostile file makes PIL stumble over
            raise DataError(f"This {kind} is truncated or damaged: {error or type(error).__name__}.") from error
    pixels = f"{size[0]} × {size[1]} pixels; at most {MAX_PIXELS / 1e6:.0f} million are read"
    raise DataError(f"This {kind} declares {pixels}. Make it smaller.")
