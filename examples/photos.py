"""A folder of small generated photos for the other examples: four shapes in random colours, places and sizes."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 64  # pixels


def photos(folder: Path, each: int = 40, seed: int = 0) -> Path:
    """`folder` with one sub-folder of JPEG files per class, as a person's own photos would lie."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    for number in range(each):
        dx, dy = x - rng.uniform(22, 42), y - rng.uniform(22, 42)
        radius, turn = rng.uniform(14, 26), rng.uniform(0, np.pi)
        u, v = abs(dx * np.cos(turn) + dy * np.sin(turn)), abs(dy * np.cos(turn) - dx * np.sin(turn))
        shapes = {
            "cross": (np.maximum(u, v) < radius) & (np.minimum(u, v) < radius / 4),
            "disc": np.hypot(u, v) < radius,
            "ring": abs(np.hypot(u, v) - 0.8 * radius) < 0.2 * radius,
            "square": np.maximum(u, v) < 0.9 * radius,
        }
        for name, inside in shapes.items():
            front = rng.uniform(0, 255, 3)
            back = (front + rng.uniform(80, 176, 3)) % 256  # colours tell nothing about the shape
            pixels = np.where(inside[..., None], front, back) + rng.normal(0, 8, (SIZE, SIZE, 3))
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number:03}.jpg", quality=90)
    return folder
