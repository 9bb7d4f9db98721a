"""Image files: bytes in, upright 8-bit RGB pictures out.

Colour profiles are not applied: the pretrained networks were not shown any. Greys of more than eight bits are scaled by
their range, never clipped; what is transparent shows white. A file that does not decode to its last pixel is refused.
"""

import codecs
import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile, DibImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Transpose
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from graft.core.errors import DataError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
)
MAX_PIXELS = 89_478_485  # where PIL begins to suspect a bomb: 0.36 GB in memory, more than nearly all cameras have
HASH_SHORT = 32  # half the short side, in pixels, from which a resized or saved-again copy keeps nearly the same hash

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
    mirrored: int  # the hash that it would have left to right
    device: str = ""  # the camera, as the file names it


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
        camera = _camera(image)
    grey = np.asarray(picture.convert("F").resize((9, 8), Image.Resampling.BILINEAR))
    bits, mirrored = (np.packbits(one[:, 1:] > one[:, :-1]).tobytes() for one in (grey, grey[:, ::-1]))
    return Look(width, height, kind, mode, int.from_bytes(bits, "big"), int.from_bytes(mirrored, "big"), camera)


def pixels(data: bytes) -> int:
    """How many pixels an image declares, by its header alone; DataError as from `decode`."""
    with _opened(data, whole=False) as image:
        return image.size[0] * image.size[1]


@contextmanager
def _opened(source: bytes | str | os.PathLike[str], whole: bool = True) -> Iterator[ImageFile.ImageFile]:
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
            if whole and plugin is PngImageFile:
                plugin(stream).verify()  # the checksums, which decoding skips
                stream.seek(0)
            image = plugin(stream)
            if whole:
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


def _camera(image: ImageFile.ImageFile) -> str:
    try:
        exif = image.getexif()
        return " ".join(
            str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model)
        ).strip()
    except Exception:  # broken metadata are no reason to lose a photo
        return ""


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
