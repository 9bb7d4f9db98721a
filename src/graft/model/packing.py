"""How the rows of ragged examples (tokens, windows) lie in a network's tensors, and how they are gathered into batches.

A row is what is stored. Inside the network rows lie behind one another (windows: P, …), packed into one line of tokens
(1, T, …), or padded by piece (P, L, …); a piece is a stretch of one example's rows that runs by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

SHARE = 4  # batches with filling are this much smaller: every length has its own, and of each one is not full
STEP = 16  # tokens to which the length of padded pieces is rounded up: a function of the piece alone, so rows stay pure


@dataclass(frozen=True)
class Lay:
    """A batch of ragged examples."""

    lengths: list[int]  # rows of each example
    pieces: list[int]  # rows of each piece
    padded: int = 0  # rows that every piece is filled up to; 0: nothing is filled up

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.lengths)

    def unit(self, shape: Sequence[int]) -> str | None:
        """What an output of this shape holds: one entry an "example" or a "row", or rows "packed" or "padded"."""
        if len(shape) > 2 and shape[0] == 1 and shape[1] == self.rows:
            return "packed"
        if len(shape) > 2 and self.padded and tuple(shape[:2]) == (len(self.pieces), self.padded):
            return "padded"
        return {self.rows: "row", len(self.lengths): "example"}.get(shape[0])

    def mask(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """Which places of the padded pieces hold rows: (P, L) of bool."""
        filled = torch.tensor(self.pieces, device=device)
        return torch.arange(self.padded, device=device) < filled[:, None]

    def taken(self, out: torch.Tensor, unit: str) -> torch.Tensor:
        """The rows of an output (or its examples), one behind the other."""
        if unit == "packed":
            return out[0]
        return out[self.mask(out.device)] if unit == "padded" else out

    def put(self, rows: torch.Tensor, unit: str) -> torch.Tensor:
        """Rows as the network had them; what a padded piece is filled up with is zero."""
        if unit == "packed":
            return rows[None]
        if unit == "padded":
            out = rows.new_zeros(len(self.pieces), self.padded, *rows.shape[1:])
            out[self.mask(rows.device)] = rows
            return out
        return rows

    def blank(self, shape: Sequence[int], unit: str, like: torch.Tensor) -> torch.Tensor:
        """An output without content in this batch's shape, of no memory; `shape` is that of one row or example."""
        whole = {
            "packed": (1, self.rows), "padded": (len(self.pieces), self.padded), "row": (self.rows,),
            "example": (len(self.lengths),),
        }[unit]  # fmt: skip
        return like.new_zeros(()).expand(*whole, *shape)

    @property
    def owners(self) -> list[int]:
        """The example that each row belongs to."""
        return [example for example, length in enumerate(self.lengths) for _ in range(length)]


def split(lengths: Sequence[int], window: int) -> list[int]:
    """Pieces of at most `window` rows: full ones, and what is left; an example without rows has none."""
    pieces = []
    for length in lengths:
        pieces += [window] * (length // window) + ([length % window] if length % window else [])
    return pieces


def filled(length: int, window: int) -> int:
    """Rows that a padded piece is filled up to: its own up to a multiple of STEP, never more than a window."""
    return min(window, -(-length // STEP) * STEP)


def gathered(lengths: Sequence[int], size: int, window: int = 0) -> list[tuple[list[int], list[int]]]:
    """Batches of always the same size in rows: (which examples, lengths of blank ones that fill it up).

    An example of more rows than that runs alone, filled up to a multiple. With a `window`, pieces are padded: a batch
    holds examples whose pieces are filled up to one length, a quarter of `size` with the filling. What shape an example
    is computed in is then the same whatever stands beside it. The longest come first and the shorter ones fill what
    they leave, so that little is blank and pieces of one length lie side by side.
    """
    batches: dict[tuple[int, int], list[tuple[list[int], int]]] = {}  # by shape: members, and the room left
    for example in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        length = lengths[example]
        wide = filled(length, window) if window else 0
        room, count = (max(1, size // SHARE // wide), len(split([length], window))) if wide else (size, length)
        whole = max(1, -(-count // room)) * room
        alike = batches.setdefault((wide, whole), [])
        at = next((at for at, (_, left) in enumerate(alike) if left >= count), len(alike))
        members, left = alike[at] if at < len(alike) else ([], whole)
        alike[at : at + 1] = [([*members, example], left - count)]
    return [
        (members, [wide] * left if wide else [left] * (left > 0))
        for (wide, _), alike in batches.items()
        for members, left in alike
    ]
