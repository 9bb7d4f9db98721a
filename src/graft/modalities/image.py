"""Images: files and bytes in, upright 8-bit RGB pictures and (3, height, width) arrays out.

Colour profiles are not applied: the pretrained networks were not shown any. Greys of more than eight bits are scaled by
their range, never clipped; what is transparent shows white. A file that does not decode to its last pixel is refused.
"""

import codecs
import io
import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile, DibImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Transpose
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
VERSION = f"1, Pillow {PIL.__version__}"  # of what `prepare` and `vary` compute; decoding differs between Pillows
MAX_PIXELS = 89_478_485  # where PIL begins to suspect a bomb: 0.36 GB in memory, more than nearly all cameras have
HASH_SHORT = 32  # half the short side, in pixels, from which a resized or saved-again copy keeps nearly the same hash
AREA = (0.5, 1.0)  # share of the largest possible window that a view keeps: half still shows what a photo is of
STRETCH = 4 / 3  # how far a view may be squeezed or stretched: the range that the pretrained networks saw
JITTER = 0.2  # brightness, contrast and saturation each change by at most this share: mild enough for few examples
REACH = 3  # pixels, of the larger of the two pictures, that the widest filter (lanczos) sees to each side
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, as JPEG has it

# The plugins are called directly: Image.open would try forty formats, and warn of a bomb before we can refuse it.
KNOWN: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (rb"\xff\xd8\xff", JpegImageFile),
    (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    (rb"RIFF....WEBP", WebPImageFile),
    (rb"GIF8[79]a", GifImageFile),
    (rb"BM", BmpImageFile),
    (rb"[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", DibImageFile),
    (rb"II[*+]\0|MM\0[*+]", TiffImageFile),
    (rb"P[1-6f]\s", PpmImageFile),
)
STRANGERS = (
    (rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)", "an HTML page"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", "an SVG drawing; save it as PNG"),
    (rb"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)", "a HEIC photo; save it as JPEG"),
    (rb"....ftypavi[fs]", "an AVIF image; save it as JPEG or PNG"),
    (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI", "a video"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image; save it as JPEG or PNG"),
    (rb"PK\x03\x04", "a ZIP archive; unpack it"),
    (rb"\x1f\x8b", "gzip data; unpack it"),
    (rb"%PDF", "a PDF document"),
)
FLIPS = (Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM)
TURNS = (Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90)
UPRIGHT = dict(enumerate(FLIPS + TURNS, start=2))  # by EXIF orientation
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
    """The first picture of a file, or of a file's bytes: RGB, upright, transparency over white.

    With `short`, a big JPEG may come at 1/2, 1/4 or 1/8 of its size, its short side still at least 2 × short.

    Raises:
        DataError: empty, not an image, truncated or damaged, too many pixels, or unreadable; a short reason.
    """
    with _opened(source) as image:
        return _picture(image, short)


def look(data: bytes) -> Look:
    """Size, format and difference hash of an image that decodes to its end; cheap for big JPEGs.

    Raises:
        DataError: as `decode` does.
    """
    with _opened(data) as image:
        (width, height), kind, mode = image.size, image.format or "", image.mode
        picture = _picture(image, HASH_SHORT)
        if _turn(image) in TURNS:
            width, height = height, width
    grey = np.asarray(picture.convert("F").resize((9, 8), Image.Resampling.BILINEAR))
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return Look(width, height, kind, mode, int.from_bytes(bits.tobytes(), "big"))


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


@contextmanager
def _opened(source: bytes | str | os.PathLike[str]) -> Iterator[ImageFile.ImageFile]:
    """An image of which only the header is read; whatever a file makes PIL stumble over becomes a DataError."""
    if REMARKS not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    try:
        stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise DataError(f"{source!s} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    with stream:
        plugin = _plugin(stream)
        try:
            if plugin is PngImageFile:
                plugin(stream).verify()  # the checksums, which decoding skips
                stream.seek(0)
            image = plugin(stream)
            _check(image, stream)
            yield image
        except DataError:
            raise
        except Exception as error:
            what = str(error).rstrip(".") or type(error).__name__
            raise DataError(f"This {plugin.format} is truncated or damaged: {what}.") from error


def _plugin(stream: BinaryIO) -> type[ImageFile.ImageFile]:
    """What reads this stream, told by its first bytes, whatever the file is called."""
    head = stream.read(256)
    stream.seek(0)
    if not head:
        raise DataError("The file is empty (0 bytes).")
    for pattern, plugin in KNOWN:
        if re.match(pattern, head, re.DOTALL):
            return plugin
    for pattern, what in STRANGERS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            raise DataError(f"This is not a readable image but {what}.")
    try:
        text = " ".join(codecs.getincrementaldecoder("utf-8")().decode(head).split())  # head may end inside a character
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable():
        raise DataError(f"This is not an image but text that starts with {text[:40]!r}.")
    formats = ", ".join(str(plugin.format) for _, plugin in KNOWN)
    raise DataError(f"This is not an image: it starts with the bytes {head[:8].hex(' ')}. What can be read: {formats}.")


def _check(image: ImageFile.ImageFile, stream: BinaryIO) -> None:
    """Refuse what must not be decoded, or what would decode to garbage without a word."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS / 1e6:.0f} million are decoded. Make it smaller"
        raise DataError(f"This {image.format} declares {width} × {height} pixels; {limit}.")
    if isinstance(image, JpegImageFile):
        pixels = stream.read()  # PIL has read up to here, and goes back by itself
        if pixels.endswith(b"\0\0") and b"\xff\xd9" not in pixels:
            raise DataError("This JPEG is truncated: it ends in zeros, as a copy does that broke off.")


def _picture(image: ImageFile.ImageFile, short: int | None) -> Image.Image:
    if short is not None:
        image.draft("RGB", (2 * short, 2 * short))  # only JPEG heeds it
    image.load()
    picture, turn = _rgb(image), _turn(image)
    return picture if turn is None else picture.transpose(turn)


def _turn(image: ImageFile.ImageFile) -> Transpose | None:
    """What sets a loaded image upright; PIL has turned a TIFF by then, and forgotten its orientation."""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata are no reason to lose a photo
        return None


def _rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode in eight bits of red, green and blue."""
    if image.mode[0] in "IF":
        image = _grey(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        picture = Image.new("RGB", image.size, "white")
        picture.paste(clear, mask=clear)
        return picture
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Grey of more than eight bits in eight.

    Whole numbers within 0 and 65535, and real ones within 0 and 1, keep that scale; others are stretched from their
    least to their greatest. What is not a finite number is black.
    """
    values = np.asarray(image)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    full = 65535.0 if values.dtype.kind in "iu" else 1.0
    narrow = low >= 0 and high <= full
    low, high = (0.0, full) if narrow else (low, high)
    scaled = np.subtract(values, low, dtype=np.float32 if narrow else np.float64)  # others overflow or lose digits
    np.multiply(scaled, 255 / ((high - low) or 1.0), out=scaled)
    shades = np.rint(np.nan_to_num(scaled, copy=False, posinf=0, neginf=0), out=scaled).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        shades[values == clear] = 255
    return Image.fromarray(shades)


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
