"""Image files of every kind are read as their known pixels, or refused with a reason, and prepared as timm does."""

import io
import itertools
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from graft.core.errors import DataError, PlanError
from graft.data import pictures
from graft.modalities import image
from photos import CLASSES, draw, encode, hostile, photos, png, tiff

PHOTO = draw("ring", (100, 80), np.random.default_rng(3))
SMALL = {
    "RGB": (3,),
    "L": (),
    "RGBA": (4,),
    "LA": (2,),
    "CMYK": (4,),
    "P": (),
    "1": (),
    "I;16": (),
    "I;16B": (),
    "F": (),
}
FUZZ = settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def pixels(source: bytes | Path) -> np.ndarray:
    return np.asarray(pictures.decode(source)).astype(int)


def made(mode: str, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """A picture of this mode, and the RGB that anyone should see: worked out from the numbers, not by PIL."""
    shape = (7, 11, *SMALL[mode])
    values = rng.integers(0, 256, shape)
    if mode == "1":
        values = values // 128
        return Image.fromarray(values.astype(bool)), np.repeat(values[..., None] * 255, 3, -1)
    if mode.startswith("I;16"):
        values = rng.integers(0, 65536, shape)
        raw = values.astype(">u2" if mode.endswith("B") else "<u2").tobytes()
        return Image.frombytes(mode, (11, 7), raw), np.repeat(np.round(values / 257)[..., None], 3, -1)
    if mode == "F":
        values = rng.uniform(0, 1, shape).astype(np.float32)
        return Image.fromarray(values), np.repeat(np.round(values * 255)[..., None], 3, -1)
    if mode == "P":
        picture = Image.fromarray(values.astype(np.uint8), "L").copy()
        palette = rng.integers(0, 256, (256, 3))
        picture.putpalette(palette.astype(np.uint8).tobytes())
        return picture, palette[values]
    picture = Image.fromarray(values.astype(np.uint8), None if mode in ("RGB", "RGBA", "L") else mode)
    return picture, seen(values, mode)


def seen(values: np.ndarray, mode: str) -> np.ndarray:
    if mode == "L":
        return np.repeat(values[..., None], 3, -1)
    if mode == "CMYK":
        return (255 - values[..., :3]) * (255 - values[..., 3:]) / 255
    if mode in ("LA", "RGBA"):
        colour, alpha = values[..., :-1], values[..., -1:] / 255
        return np.broadcast_to(colour * alpha + 255 * (1 - alpha), (*values.shape[:-1], 3))
    return values


LOSSLESS = [
    *(("PNG", mode, {}) for mode in ("RGB", "L", "RGBA", "LA", "P", "1", "I;16")),
    *(("TIFF", mode, {}) for mode in SMALL),
    *(("TIFF", mode, {"compression": "tiff_lzw"}) for mode in ("RGB", "L", "RGBA", "P", "I;16", "CMYK")),
    *(("TIFF", mode, {"compression": "tiff_adobe_deflate", "big_tiff": True}) for mode in ("RGB", "I;16", "F")),
    ("TIFF", "1", {"compression": "group4"}),
    *(("BMP", mode, {}) for mode in ("RGB", "L", "P", "1")),
    *(("DIB", mode, {}) for mode in ("RGB", "L")),
    *(("GIF", mode, {}) for mode in ("L", "P", "1")),
    *(("WEBP", mode, {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")),
    *(("PPM", mode, {}) for mode in ("RGB", "L", "1", "I;16", "F")),
]


@pytest.mark.parametrize(("format", "mode", "options"), LOSSLESS, ids=lambda value: str(value) if value else "")
def test_lossless_formats_show_their_pixels(tmp_path, format, mode, options, rng):
    picture, expected = made(mode, rng)
    path = tmp_path / "x.jpg"  # the name does not matter
    picture.save(path, format, **options)
    got = pictures.decode(path)
    assert got.mode == "RGB"
    np.testing.assert_allclose(np.asarray(got), expected, atol=1 if mode in ("LA", "RGBA", "CMYK") else 0)
    assert (pictures.look(path.read_bytes()).format, got.size) == (format, (11, 7))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_shows_its_pixels(mode, progressive, rng):
    values = np.kron(rng.integers(0, 256, (3, 4, *SMALL[mode])), np.ones((16, 16, *(1 for _ in SMALL[mode])), int))
    picture = Image.fromarray(values.astype(np.uint8), "CMYK" if mode == "CMYK" else None)
    data = encode(picture, quality=100, subsampling=0, progressive=progressive)
    np.testing.assert_allclose(pixels(data), seen(values, mode), atol=4)


def test_ycck_jpeg_of_adobe_shows_its_pixels():
    flat = np.array([40, 120, 150, 60])
    data = bytearray(encode(Image.new("CMYK", (16, 16), tuple(flat.tolist())), quality=100))
    data[data.index(b"Adobe") + 11] = 2  # the same numbers, now declared to be luma, chroma and black
    y, cb, cr, k = 255 - flat
    ink = np.array([y + 1.402 * (cr - 128), y - 0.344 * (cb - 128) - 0.714 * (cr - 128), y + 1.772 * (cb - 128)])
    np.testing.assert_allclose(pixels(bytes(data))[8, 8], (255 - ink.clip(0, 255)) * k / 255, atol=4)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "extra", "expected"),
    [
        (1, 0, b"\x40", (), [[0] * 3, [255] * 3, [0] * 3]),
        (2, 0, b"\x18", (), [[0] * 3, [85] * 3, [170] * 3]),
        (4, 0, b"\x0f\x80", (), [[0] * 3, [255] * 3, [136] * 3]),
        (8, 0, b"\x00\x64\xc8", ((b"tRNS", b"\x00\x64"),), [[0] * 3, [255] * 3, [200] * 3]),
        (16, 0, b"\0\0\x01\x2c\xff\xff", ((b"tRNS", b"\x01\x2c"),), [[0] * 3, [255] * 3, [255] * 3]),
        (8, 2, bytes(range(1, 10)), ((b"tRNS", struct.pack(">3H", 4, 5, 6)),), [[1, 2, 3], [255] * 3, [7, 8, 9]]),
        (16, 2, struct.pack(">9H", *range(0, 9 * 257, 257)), (), [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
        (16, 4, struct.pack(">6H", 0, 65535, 0, 0, 65535, 65535), (), [[0] * 3, [255] * 3, [255] * 3]),
        (2, 3, b"\x18", ((b"PLTE", bytes([9, 8, 7, 0, 200, 0, 1, 2, 3])), (b"tRNS", b"\xff\x80\x00")),
         [[9, 8, 7], [127, 227, 127], [255] * 3]),
    ],
)  # fmt: skip
def test_png_of_every_depth(depth, colour, row, extra, expected):
    np.testing.assert_allclose(pixels(png(3, 1, depth, colour, b"\0" + row, *extra))[0], expected, atol=1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[-5, 0, 5]], np.int32), [0, 128, 255]),
        (np.array([[0, 500_000, 1_000_000]], np.int32), [0, 128, 255]),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.full((1, 3), 70_000, np.int32), [0, 0, 0]),
        (np.array([[0, 51, 255]], np.float32), [0, 51, 255]),
        (np.array([[np.nan, np.inf, 0.2]], np.float32), [0, 0, 51]),
        (np.full((1, 3), np.nan, np.float32), [0, 0, 0]),
        (np.array([[-3e38, 0, 3e38]], np.float32), [0, 128, 255]),
    ],
)
def test_wide_greys_are_scaled_by_range(values, expected):
    assert pixels(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == expected


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_obeyed(format, orientation, rng):
    values = np.kron(rng.integers(0, 256, (2, 3, 3)), np.ones((16, 16, 1), int)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    data = encode(Image.fromarray(values), format, exif=exif, **options)
    expected = UPRIGHT[orientation](values)
    np.testing.assert_allclose(pixels(data), expected, atol=4 if format == "JPEG" else 0)
    shown = pictures.look(data)
    assert (shown.height, shown.width) == expected.shape[:2]


def test_first_frame_of_what_moves():
    first, second = Image.new("RGB", (20, 10), (200, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 200))
    for format, options in {"GIF": {}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "MPO": {}}.items():
        data = encode(first, format, save_all=True, append_images=[second], **options)
        np.testing.assert_allclose(pixels(data), np.broadcast_to((200, 0, 0), (10, 20, 3)), atol=2)


def test_gif_transparency_shows_white():
    picture = Image.new("P", (4, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((2, 0), 1)
    assert pixels(encode(picture, "GIF", transparency=1))[0].tolist() == [[10, 20, 30]] * 2 + [[255] * 3, [10, 20, 30]]


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("PPM", {}),
    ],
    ids=str,
)
def test_truncated_files_are_refused_or_whole(format, options):
    data = encode(PHOTO, format, **options)
    whole, refused = pixels(data), 0
    for end in [len(data) * tenth // 10 for tenth in range(10)] + [len(data) - 30, len(data) - 2, len(data) - 1]:
        for read in (pixels, pictures.look):
            try:
                got = read(data[:end])
            except DataError:
                refused += 1
            else:
                assert end > 0.95 * len(data), f"{end} of {len(data)} bytes were taken for an image"
                assert read is pictures.look or (got == whole).all()
    assert refused >= 20


@pytest.mark.parametrize("options", [{"format": "JPEG"}, {"format": "PNG"}, {"format": "JPEG", "progressive": True}])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_copy_that_ends_in_zeros_is_refused(options, share):
    data = encode(PHOTO, **options)
    with pytest.raises(DataError, match="truncated"):
        pictures.decode(data[: int(share * len(data))].ljust(len(data), b"\0"))
    pictures.decode(data + bytes(1000))  # padding after the end is harmless


HOSTILE = {
    "empty": "empty",
    "text": "text that starts with 'a photo of a cat",
    "page": "HTML",
    "drawing": "SVG",
    "pointer": "LFS",
    "archive": "ZIP",
    "document": "PDF",
    "phone": "HEIC",
    "noise": "starts with the bytes 01",
    "header": "damaged",
    "zeros": "zeros",
    "flipped": "checksum",
    "bomb": "50000 × 50000 pixels",
    "truncated": "truncated",
}


def test_hostile_files_are_refused_with_a_reason(tmp_path):
    for name, path in hostile(tmp_path).items():
        for read in (pictures.decode, lambda path: pictures.look(path.read_bytes())):
            with pytest.raises(DataError, match=HOSTILE[name.split(".")[0]]) as caught:
                read(path)
            assert len(str(caught.value)) < 160, name


def test_what_cannot_be_opened_is_named(tmp_path):
    for source in (tmp_path / "none.jpg", tmp_path, "a\0b.jpg"):
        with pytest.raises(DataError, match="cannot be read"):
            pictures.decode(source)


def test_polyglots_are_what_they_begin_with(tmp_path):
    archive = hostile(tmp_path)["archive.png"].read_bytes()
    data = encode(PHOTO)
    assert (pixels(data + archive) == pixels(data)).all()
    with pytest.raises(DataError, match="GIF"):
        pictures.decode(b"GIF89a/*" + b"alert(1)*/=1;" * 40)


def test_the_limit_is_checked_before_anything_is_decoded():
    side = 50_000
    canvas = struct.pack("<I", 16)[:4] + (side - 1).to_bytes(3, "little") * 2
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + canvas[:4] + canvas[4:] + b"VP8L" + struct.pack("<I", 8) + bytes(8)
    with pytest.raises(DataError):
        pictures.decode(b"RIFF" + struct.pack("<I", len(webp)) + webp)
    frame = struct.pack("<6sHH3sc4HB", b"GIF89a", 1, 1, bytes(3), b",", 0, 0, side, side, 0)
    with pytest.raises(DataError):
        pictures.decode(frame + b"\x02\x02\x44\x01\0;")
    limit = pictures.MAX_PIXELS // 10
    with pytest.raises(DataError, match="declares"):
        pictures.decode(b"P5 %d 10 255\n" % (limit + 1))
    with pytest.raises(DataError, match="truncated"):
        pictures.decode(b"P5 %d 10 255\n" % limit)


def test_remarks_on_metadata_do_not_escape():
    stray = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x010F, 2, 1000, 5000) + bytes(4)
    photo = encode(PHOTO, exif=stray)
    strip = tiff((256, 2), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (278, 4), (279, 8))
    strip = strip[:16] + struct.pack("<H", 9) + strip[18:-4] + struct.pack("<HHIII", 700, 1, 9999, 9999, 0)
    for data in (photo, strip):
        with pytest.warns(UserWarning, match="Tag|tag"):  # PIL does remark on it
            Image.open(io.BytesIO(data)).getexif()
        for read in (pictures.decode, pictures.look):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                read(data)
    assert (pixels(photo) == pixels(encode(PHOTO))).all()
    for format in ("JPEG", "PNG", "WEBP"):
        broken = encode(PHOTO, format, exif=b"Exif\0\0neither II nor MM")
        assert (pixels(broken) == pixels(encode(PHOTO, format))).all()


def accepted(data: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            shown = pictures.look(data)
        except DataError:
            return False
    assert shown.width * shown.height <= pictures.MAX_PIXELS
    return True


MAGIC = [
    b"",
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"P6 ",
    b"P2\n3 ",
    b"Pf\n",
]
SEEDS = [
    encode(PHOTO.resize((24, 16)).convert(mode), format, **options)
    for format, mode, options in [
        ("JPEG", "RGB", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 6) + bytes(4)}),
        ("PNG", "RGBA", {}), ("PNG", "P", {}), ("GIF", "P", {}), ("BMP", "RGB", {}), ("BMP", "P", {}), ("DIB", "L", {}),
        ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}), ("PPM", "RGB", {}), ("PPM", "F", {}),
        ("TIFF", "RGB", {}), ("TIFF", "F", {}), ("TIFF", "I", {}), ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ]
]  # fmt: skip


@FUZZ
@given(magic=st.sampled_from([*MAGIC, b"RIFF\x40\0\0\0WEBPVP8 "]), rest=st.binary(max_size=200))
def test_random_bytes_are_refused_quietly(magic, rest):
    accepted(magic + rest)


@FUZZ
@given(data=st.data())
def test_mutated_files_are_read_or_refused_quietly(data):
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    places = st.integers(0, len(seed) - 1) | st.integers(0, 60)  # headers more often than pixels
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        seed[place] = byte
    accepted(bytes(seed))


def test_the_fuzz_begins_with_good_files():
    assert all(accepted(seed) for seed in SEEDS)


def test_big_jpegs_may_come_smaller():
    big = draw("checks", (1600, 1200), np.random.default_rng(0))
    data = encode(big, quality=95, subsampling=0)
    for short, size in (
        (None, (1600, 1200)),
        (600, (1600, 1200)),
        (299, (800, 600)),
        (100, (400, 300)),
        (10, (200, 150)),
    ):
        got = pictures.decode(data, short)
        assert got.size == size
        reference = np.asarray(big.resize(size, Image.Resampling.BOX)).astype(int)
        assert abs(np.asarray(got) - reference).mean() < 4
    assert pictures.decode(encode(big, "BMP"), 10).size == (1600, 1200)
    shown = pictures.look(data)
    assert (shown.width, shown.height, shown.format, shown.mode) == (1600, 1200, "JPEG", "RGB")
    with pytest.raises(DataError, match="truncated"):
        pictures.look(data[: len(data) * 9 // 10])


def test_hash_is_the_sign_of_each_step_to_the_right(rng):
    def weights(cells: int, step: int) -> np.ndarray:  # of every pixel in every cell: a triangle two cells wide
        apart = np.arange(cells * step)[None] + 0.5 - (np.arange(cells)[:, None] + 0.5) * step
        triangle = np.maximum(0, 1 - abs(apart) / step)
        return triangle / triangle.sum(1, keepdims=True)

    grey = rng.integers(0, 256, (80, 108), dtype=np.uint8)
    cells = weights(8, 10) @ grey @ weights(9, 12).T
    expected = 0
    for row in cells.tolist():
        for left, right in itertools.pairwise(row):
            expected = expected * 2 + (right > left)
    assert pictures.look(encode(Image.fromarray(grey), "PNG")).hash == expected


def test_hash_tells_near_duplicates_from_others(tmp_path):
    def apart(one: bytes, other: bytes) -> int:
        return (pictures.look(one).hash ^ pictures.look(other).hash).bit_count()

    originals = [path.read_bytes() for path in sorted(photos(tmp_path, len(CLASSES), 3).rglob("*.jpg"))]
    for data in originals:
        picture = Image.open(io.BytesIO(data))
        assert apart(data, encode(picture, quality=60)) <= 4
        assert apart(data, encode(picture.resize((160, 128)), "PNG")) <= 4
    assert min(apart(one, other) for at, one in enumerate(originals) for other in originals[:at]) > 10


SHAPES = [
    (500, 375),
    (375, 500),
    (333, 500),
    (224, 224),
    (256, 256),
    (257, 255),
    (90, 61),
    (700, 90),
    (33, 800),
    (1, 9),
]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("size", "crop", "most"),
    # Where the scale is a simple fraction many values lie halfway, and a few of them round twice to the other side.
    [((224, 224), 0.875, 1), ((224, 224), 1.0, 2), ((160, 160), 0.95, 2), ((288, 224), 0.9, 2), ((96, 200), 0.875, 2)],
)
def test_prepare_agrees_with_timm(size, crop, most, interpolation, rng):
    from timm.data import create_transform

    theirs = create_transform((3, *size), interpolation=interpolation, crop_pct=crop, normalize=False)
    for width, height in SHAPES:
        photo = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        ours = image.prepare(photo, image.Input(size=size, crop=crop, interpolation=interpolation))["x"]
        assert (ours.shape, ours.dtype, ours.flags.c_contiguous) == ((3, *size), np.uint8, True)
        difference = abs(ours.astype(int) - np.asarray(theirs(photo)))
        assert difference.max() <= most
        assert (difference > 1).mean() < 0.005
        assert difference.mean() < 0.2


@pytest.mark.parametrize("size", [(20_000, 20), (20, 20_000), (1, 3_000_000), (3_000_000, 1), (1, 1)])
def test_extreme_shapes_are_prepared(size):  # resizing all of the longest would take 600 GB
    long = Image.new("RGB", size, (10, 200, 30))
    for array in (image.prepare(long, image.Input()), image.vary(long, image.Input(), np.random.default_rng(0))):
        assert array["x"].shape == (3, 224, 224)
    prepared = image.prepare(long, image.Input(interpolation="lanczos"))["x"]
    assert (prepared == np.array([10, 200, 30])[:, None, None]).all()


def test_unknown_interpolation_is_refused():
    with pytest.raises(PlanError, match="bicubic"):
        image.prepare(PHOTO, image.Input(interpolation="bicubik"))


def test_views_are_seeded():
    input = image.Input(size=(64, 96))
    views = [image.vary(PHOTO, input, np.random.default_rng(seed))["x"] for seed in (0, 0, 1, 2)]
    assert all((view.shape, view.dtype, view.flags.c_contiguous) == ((3, 64, 96), np.uint8, True) for view in views)
    assert (views[0] == views[1]).all()
    assert len({view.tobytes() for view in views}) == 3


def test_views_are_windows_of_half_to_all_of_the_picture(monkeypatch):
    monkeypatch.setattr(image, "JITTER", 0.0)
    across, down = np.meshgrid(np.arange(240.0), np.arange(180.0))
    places = Image.fromarray(np.stack([across, down, across], -1).astype(np.uint8))  # every pixel says where it was
    shares, shapes, mirrored = [], [], 0
    for seed in range(200):
        red, green, _ = image.vary(places, image.Input(size=(90, 90)), np.random.default_rng(seed))["x"].astype(float)
        steps = np.diff(red, axis=1).mean() * 90, np.diff(green, axis=0).mean() * 90
        shares.append(abs(steps[0] * steps[1]) / 180**2)
        shapes.append(abs(steps[0]) / steps[1])
        mirrored += steps[0] < 0
    assert 0.4 < min(shares) < 0.6
    assert 0.85 < max(shares) < 1.05
    assert 0.7 < min(shapes) < 0.85
    assert 1.2 < max(shapes) < 1.42
    assert 70 < mirrored < 130


def test_colours_change_mildly():
    flat = Image.new("RGB", (30, 30), (120, 120, 120))  # neither contrast nor saturation can change it
    shades = [image.vary(flat, image.Input(size=(8, 8)), np.random.default_rng(seed))["x"] for seed in range(100)]
    assert all((shade == shade[0, 0, 0]).all() for shade in shades)
    levels = [int(shade[0, 0, 0]) for shade in shades]
    assert 96 <= min(levels) < 102
    assert 138 < max(levels) <= 144
    split = Image.fromarray(np.kron([[80, 160]], np.ones((30, 15))).astype(np.uint8)).convert("RGB")
    spans = [
        np.ptp(image.vary(split, image.Input(size=(30, 30)), np.random.default_rng(seed))["x"]) for seed in range(100)
    ]
    assert min(spans) < 70  # less contrast
    assert max(spans) > 90  # and more
    red = Image.new("RGB", (30, 30), (160, 80, 80))
    chroma = [
        np.ptp(image.vary(red, image.Input(size=(8, 8)), np.random.default_rng(seed))["x"]) for seed in range(100)
    ]
    assert min(chroma) < 66
    assert max(chroma) > 94


def test_threads_see_the_same_bits(tmp_path):
    paths = sorted(photos(tmp_path, 3, 8, size=(300, 200)).rglob("*.jpg"))

    def work(at: int) -> bytes:
        picture = pictures.decode(paths[at])
        view = image.vary(picture, image.Input(), np.random.default_rng(at))["x"]
        return (
            image.prepare(picture, image.Input())["x"].tobytes()
            + view.tobytes()
            + str(pictures.look(paths[at].read_bytes())).encode()
        )

    alone = [work(at) for at in range(len(paths))]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(len(paths)))) == alone


def test_examples_to_trace_with():
    x = image.example(image.Input(size=(32, 48)), 5, np.random.default_rng(0))["x"]
    assert (x.shape, x.dtype) == ((5, 3, 32, 48), np.uint8)
    assert x.std() > 60


def test_suffixes_are_what_pil_calls_the_formats_we_read():
    ours = {plugin.format for _, plugin in pictures.KNOWN} | {"MPO"}
    theirs = Image.registered_extensions()
    assert all(theirs[suffix] in ours for suffix in image.SUFFIXES)
    assert {theirs[suffix] for suffix in image.SUFFIXES} >= {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"}


def test_photos_cannot_be_told_apart_by_colour(tmp_path):
    paths = sorted(photos(tmp_path, 3, 20).rglob("*.jpg"))
    means, kinds = (
        np.array([pixels(path).mean((0, 1)) for path in paths]),
        np.array([path.parent.name for path in paths]),
    )
    apart = np.linalg.norm(means[:, None] - means[None], axis=-1) + np.diag(np.full(len(paths), np.inf))
    assert (kinds[apart.argmin(1)] == kinds).mean() < 0.6


def test_images_are_read_without_torch():
    code = "import sys, graft.modalities.image; sys.exit(any(name in sys.modules for name in ('torch', 'torchvision')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
