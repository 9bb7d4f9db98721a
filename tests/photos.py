"""Real image files for tests: folders of photos whose classes can be learnt, and files that should be refused."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("disc", "square", "stripes", "ring", "cross", "checks")


def draw(kind: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A shape or texture, unevenly lit; place, scale, angle and both colours are random: no colour tells the class."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    dx, dy = x - rng.uniform(0.4, 0.6) * width, y - rng.uniform(0.4, 0.6) * height
    r, angle, period = min(size) * rng.uniform(0.25, 0.4), rng.uniform(0, np.pi), min(size) * rng.uniform(0.15, 0.3)
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    far, near = np.maximum(abs(dx), abs(dy)), np.minimum(abs(dx), abs(dy))
    inside = {
        "disc": np.hypot(dx, dy) < r,
        "square": far < r,
        "stripes": np.sin(2 * np.pi * u / period) > 0,
        "ring": abs(np.hypot(dx, dy) - 0.8 * r) < 0.2 * r,
        "cross": (far < r) & (near < 0.25 * r),
        "checks": np.sin(2 * np.pi * u / period) * np.sin(2 * np.pi * v / period) > 0,
    }[kind]
    front = rng.uniform(0, 255, 3)
    back = (front + rng.uniform(80, 176, 3)) % 256  # never close to the front
    noise = rng.normal(0, 8, (height, width, 3))
    light = Image.fromarray(rng.normal(0, 30, (3, 4)).astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.where(inside[..., None], front, back) + np.asarray(light)[..., None] + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encode(picture: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def photos(folder: Path, classes: int = 3, each: int = 20, size: tuple[int, int] = (80, 64), seed: int = 0) -> Path:
    """`folder` with one sub-folder of JPEG files per class; size is (width, height)."""
    rng = np.random.default_rng(seed)
    for kind in CLASSES[:classes]:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            (folder / kind / f"{index:03}.jpg").write_bytes(encode(draw(kind, size, rng), quality=90))
    return folder


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG file of this header, filtered rows, and chunks that stand before them: PIL does not write them all."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def tiff(*entries: tuple[int, int]) -> bytes:
    """A little-endian TIFF file of one directory of (tag, 32-bit number), and eight bytes for a strip at offset 8."""
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return struct.pack("<2sHI8xH", b"II", 42, 16, len(entries)) + directory + struct.pack("<I", 0)


def hostile(folder: Path) -> dict[str, Path]:
    """Files that no folder of photos should hold, by name; each one must be refused with a reason."""
    rng = np.random.default_rng(1)
    picture = draw("disc", (80, 64), rng)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("photo.jpg", encode(picture))
    jpeg, flipped = encode(picture), bytearray(encode(picture, "PNG"))
    flipped[len(flipped) // 2] ^= 1
    files = {
        "empty.jpg": b"",
        "text.jpg": b"a photo of a cat, one day\n" * 20,
        "page.jpg": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>",
        "drawing.png": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "archive.png": archive.getvalue(),
        "document.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "phone.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + rng.bytes(400),
        "noise.jpg": b"\x01" + rng.bytes(2000),
        "header.jpg": jpeg[:3],
        "zeros.jpg": jpeg[: len(jpeg) // 2].ljust(len(jpeg), b"\0"),
        "flipped.png": bytes(flipped),
        "bomb.png": png(50_000, 50_000, 1, 0, bytes(1000)),
        "bomb.gif": struct.pack("<6sHH3sc4HB", b"GIF89a", 50_000, 50_000, bytes(3), b",", 0, 0, 50_000, 50_000, 0)
        + b"\x02\x02\x44\x01\0;",
        "bomb.tif": tiff((256, 50_000), (257, 50_000), (258, 8), (259, 1), (262, 1), (273, 8), (278, 50_000), (279, 8)),
        "bomb.bmp": b"BM"
        + struct.pack("<IHHI IiiHHIIiiII", 62, 0, 0, 62, 40, 50_000, 50_000, 1, 1, *[0] * 6)
        + bytes(8),
        "bomb.ppm": b"P5 50000 50000 255\n" + bytes(100),
    }
    for format, suffix in (
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("TIFF", "tif"),
    ):
        whole = encode(picture, format)
        files[f"truncated.{suffix}"] = whole[: len(whole) // 2]
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}
