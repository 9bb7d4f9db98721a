"""A body for tables of numbers: a few residual blocks of Linear, norm, GELU and dropout, all of one width."""

import math

from torch import Tensor, nn

BLOCKS = 3  # enough for interactions of interactions; more rarely pay on tables
DROPOUT = 0.1  # share of a block's new values left out while training
LEAST, MOST = 64, 512  # width of every layer


def wide(columns: int) -> int:
    """How wide the body of so many columns is: four times their root, the next power of two, from 64 to 512.

    The first layer then holds 64 numbers for each of 30 columns and 512 for each of 12,000.
    """
    return min(max(LEAST, 1 << math.ceil(math.log2(4 * math.sqrt(max(columns, 1))))), MOST)


class Block(nn.Module):
    """x + dropout(gelu(norm(linear(x))))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)  # of one row's values: a row's answer does not hang on the rows beside it
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) → (B, width)."""
        new: Tensor = self.dropout(nn.functional.gelu(self.norm(self.linear(x))))
        return x + new


class Tabular(nn.Module):
    """Standardised columns (B, D) → features (B, width)."""

    def __init__(self, columns: int, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Linear(columns, width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """(B, columns) → (B, width)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.norm(x)
        return features


def build(columns: int, width: int = 0, blocks: int = BLOCKS, dropout: float = DROPOUT) -> Tabular:
    """The body for so many columns, in eval mode; random weights from torch's current generator.

    Args:
        width: of every layer; 0: as wide as suits the columns.
    """
    return Tabular(columns, width or wide(columns), blocks, dropout).eval()
