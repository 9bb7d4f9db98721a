"""Baselines: a contract for every file on the shelf, and pictures whose histograms are known by hand."""

import time
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load, save
from sklearn.datasets import load_digits

from graft.baselines import pixels, trivial
from graft.core import shelf
from graft.heads import classification


def photos(count: int = 12) -> list[Image.Image]:
    """Noise of every size and mode that a folder may hold."""
    rng = np.random.default_rng(0)
    sizes, modes = [(80, 50), (64, 64), (9, 7), (1, 1), (500, 375)], ["RGB", "L", "RGBA", "1", "P", "CMYK"]
    made = []
    for i in range(count):
        wide, high = sizes[i % len(sizes)]
        made.append(Image.fromarray(rng.integers(0, 256, (high, wide, 3), np.uint8)).convert(modes[i % len(modes)]))
    return made


@pytest.fixture(params=["trivial", "pixels"])
def baseline(request: pytest.FixtureRequest) -> ModuleType:
    return shelf.take("baselines", request.param)


def test_contract_any_photo_is_described_alike(baseline: ModuleType) -> None:
    described = [baseline.describe(photo) for photo in photos()]
    assert {(vector.shape, vector.dtype) for vector in described} == {(described[0].shape, np.dtype(np.float32))}
    assert described[0].ndim == 1
    assert np.isfinite(described).all()
    assert (baseline.describe(photos()[0]) == described[0]).all()


def test_contract_the_state_travels_without_pickle(baseline: ModuleType) -> None:
    x, y = np.stack([baseline.describe(photo) for photo in photos()]), np.arange(12) % 2
    state = baseline.fit(x, y, classification, 3, 0)
    said = baseline.predict(state, x)
    assert said.shape == (12, 3)
    assert said.dtype == np.float64
    assert (said[:, 2] < said[:, :2].max(1)).all()  # a class without examples is not the answer
    reread = load(save(state))
    np.testing.assert_array_equal(baseline.predict(reread, x), said)
    np.testing.assert_array_equal(baseline.predict(baseline.fit(x, y, classification, 3, 0), x), said)
    assert baseline.predict(state, x[:0]).shape == (0, 3)


def test_trivial_counts() -> None:
    state = trivial.fit(np.zeros((6, 0), np.float32), np.array([0, 0, 0, 0, 0, 2]), classification, 3, 0)
    np.testing.assert_allclose(
        np.exp(trivial.predict(state, np.zeros((2, 0), np.float32))), [[6 / 9, 1 / 9, 2 / 9]] * 2
    )


def ramp(angle: float, side: int = 64) -> np.ndarray:
    """A grey picture that brightens at one rate towards an angle, in turns of half a circle."""
    y, x = np.mgrid[:side, :side] / side
    return (0.2 * (x * np.cos(np.pi * angle) + y * np.sin(np.pi * angle))).astype(np.float32)


@pytest.mark.parametrize("orientation", range(9))
def test_a_gradient_fills_the_bin_of_its_orientation(orientation: int) -> None:
    cells = pixels.hog(ramp(orientation / 9)).reshape(7, 7, 4, 9)
    assert (cells.argmax(-1) == orientation).all()
    assert np.delete(cells, orientation, axis=-1).max() < 1e-2 * cells.max()
    between = pixels.hog(ramp((orientation + 0.5) / 9)).reshape(7, 7, 4, 9)
    np.testing.assert_allclose(between[..., orientation], between[..., (orientation + 1) % 9], rtol=1e-2)


def test_an_edge_shows_where_it_is() -> None:
    edge = np.zeros((64, 64), np.float32)
    edge[:, 36:] = 1  # in the middle of the fifth column of cells
    votes = pixels.hog(edge).reshape(7, 7, 2, 2, 9)  # block row, block column, cell row, cell column, orientation
    assert (votes[:, 3, :, 1, 0] > 0.5).all()  # right cells of the fourth blocks, left cells of the fifth
    assert (votes[:, 4, :, 0, 0] > 0.5).all()
    assert votes[:, :2].max() == votes[:, 6:].max() == 0
    assert votes[..., 1:].max() < 1e-6


def test_light_and_contrast_hardly_matter() -> None:
    rng = np.random.default_rng(0)
    picture = np.clip(0.5 + 0.1 * rng.normal(size=(64, 64)), 0, 1).astype(np.float32)
    plain = pixels.hog(picture)
    np.testing.assert_allclose(pixels.hog(picture + 0.3), plain, atol=1e-4)
    np.testing.assert_allclose(pixels.hog(3 * picture), plain, atol=0.05)
    assert np.abs(pixels.hog(picture.T) - plain).max() > 0.1
    assert pixels.hog(np.full((64, 64), 0.5, np.float32)).max() == 0


def test_the_thumbnail_keeps_colour_in_place() -> None:
    photo = Image.new("RGB", (200, 100), (255, 0, 0))
    photo.paste((0, 0, 255), (100, 0, 200, 100))
    thumb = pixels.describe(photo)[:768].reshape(16, 16, 3)
    np.testing.assert_allclose(thumb[:, :7], np.broadcast_to([1, 0, 0], (16, 7, 3)), atol=0.01)
    np.testing.assert_allclose(thumb[:, 9:], np.broadcast_to([0, 0, 1], (16, 7, 3)), atol=0.01)


def test_pixels_read_digits() -> None:
    grey, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:600]
    pictures = [Image.fromarray((d.reshape(8, 8) * 15.9).astype(np.uint8)).resize((48, 48)) for d in grey[order]]
    right = {}
    for baseline in (trivial, pixels):
        x = np.stack([baseline.describe(picture) for picture in pictures])
        state = baseline.fit(x[:300], y[order][:300], classification, 10, 0)
        right[baseline] = (baseline.predict(state, x[300:]).argmax(1) == y[order][300:]).mean()
    assert right[trivial] < 0.2
    assert right[pixels] > 0.93


def test_describing_is_cheap() -> None:
    photo = photos(5)[4].convert("RGB")
    pixels.describe(photo)
    start = time.process_time()
    for _ in range(50):
        pixels.describe(photo)
    assert 50 / (time.process_time() - start) > 150  # a second of CPU; about 600 where nothing else runs
