"""Text encoders: token rows → hidden states → one vector an example, without computing on padding where that is exact.

A transformer that reaches other tokens by its attention alone can run many texts as one line of tokens: everything else
in it works token by token, and the attention is computed text by text. Whether a network is of that kind is not looked
up but tried: both ways on the same tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import groupby
from typing import Any

import torch
from torch import nn

from graft.core.errors import BackboneError
from graft.model.packing import Lay, filled, split

POOLINGS = ("mean", "cls", "max", "last")
SAME = 1e-5  # largest difference between the two ways, in standard deviations of a feature
PIECES: ContextVar[tuple[int, ...]] = ContextVar("pieces")  # of the line that is being computed
IDLE = ("position_ids", "cache_position", "use_cache", "deterministic")  # what attention is told and need not know


class Encoder(nn.Module):
    """A transformer over pieces of at most `window` tokens, and a pooling.

    Args:
        model: takes input_ids and attention_mask, returns last_hidden_state; from the transformers library.
        pooling: "mean" of the tokens, "cls" (the first), "max", or "last".
        after: what the pooled vector goes through (a dense layer, a normalisation).
    """

    def __init__(self, model: nn.Module, window: int, pooling: str = "mean", after: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.window = model, window
        self.pool: Pool | Tokens = Pool(pooling)
        self.after = after or nn.Identity()
        self.packs, self.offset = False, 0

    def lay(self, length: torch.Tensor) -> Lay:
        """How a batch of texts lies in this network."""
        lengths = length.tolist()
        pieces = split(lengths, self.window)
        return Lay(lengths, pieces, 0 if self.packs else filled(max(pieces, default=1), self.window))

    def by_row(self) -> None:
        """From now on hidden states are not pooled: one vector a token, for heads that answer for each."""
        self.pool, self.after = Tokens(), nn.Identity()

    def forward(self, x: torch.Tensor, length: torch.Tensor, kind: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids (T,) of texts behind one another, tokens of each (B,), kinds of tokens (T,) → (B, width)."""
        lay = self.lay(length)
        return self.after(self.pool(self.hidden(x, lay, kind), lay))  # type: ignore[no-any-return]

    def hidden(self, x: torch.Tensor, lay: Lay, kind: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states: packed (1, T, D), or padded (P, L, D)."""
        more: dict[str, Any] = {}
        if not self.packs:
            more["attention_mask"] = lay.mask(x.device).long()
            if kind is not None:
                more["token_type_ids"] = lay.put(kind, "padded")
            return self.model(input_ids=lay.put(x, "padded"), **more).last_hidden_state  # type: ignore[no-any-return]
        places = torch.cat([torch.arange(piece, device=x.device) for piece in lay.pieces]) + self.offset
        if kind is not None:
            more["token_type_ids"] = kind[None]
        with _line(self.model, tuple(lay.pieces)):
            return self.model(input_ids=x[None], position_ids=places[None], **more).last_hidden_state  # type: ignore[no-any-return]

    def vectors(self, x: torch.Tensor, mask: torch.Tensor, kind: torch.Tensor | None = None) -> torch.Tensor:
        """One vector a piece, (P, L) ids and mask → (P, width): the form that is exported."""
        more = {} if kind is None else {"token_type_ids": kind}
        with _attending(self.model, "eager"):  # written out in full, which every network can be exported with
            hidden = self.model(input_ids=x, attention_mask=mask, **more).last_hidden_state
        return self.pool.padded(hidden, mask)


class Pool(nn.Module):
    """Hidden states to one vector an example; a text of several pieces is the mean over theirs, or over all tokens."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        if mode not in POOLINGS:
            raise BackboneError(f"The pooling {mode!r} is not supported; there are {', '.join(POOLINGS)}.")
        self.mode = mode

    def extra_repr(self) -> str:
        """Part of the content key of what it computes."""
        return self.mode

    def forward(self, hidden: torch.Tensor, lay: Lay) -> torch.Tensor:
        """(1, T, D) or (P, L, D) → (B, D)."""
        rows = lay.taken(hidden, "padded" if lay.padded else "packed")
        count = torch.tensor(lay.lengths, device=rows.device)
        owner = torch.arange(len(lay.lengths), device=rows.device).repeat_interleave(count)
        if self.mode == "mean":
            return _summed(rows, owner, len(count)) / count[:, None]
        pieces = torch.tensor(lay.pieces, device=rows.device)
        ends = pieces.cumsum(0)
        if self.mode == "max":
            piece = torch.arange(len(pieces), device=rows.device).repeat_interleave(pieces)
            least = rows.new_full((len(pieces), rows.shape[1]), -torch.inf)
            taken = least.scatter_reduce(0, piece[:, None].expand_as(rows), rows, "amax")
        else:
            taken = rows[ends - 1 if self.mode == "last" else ends - pieces]
        mine = owner[ends - 1]
        return _summed(taken, mine, len(count)) / torch.bincount(mine, minlength=len(count))[:, None]

    def padded(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(P, L, D) with a mask (P, L) → (P, D)."""
        if self.mode == "cls":
            return hidden[:, 0]
        here = mask[..., None].to(hidden.dtype)
        if self.mode == "mean":
            return (hidden * here).sum(1) / here.sum(1)
        if self.mode == "max":
            return hidden.masked_fill(here == 0, -torch.inf).amax(1)
        last = (mask.cumsum(1) == mask.sum(1, keepdim=True)) & (mask > 0)
        return (hidden * last[..., None]).sum(1)


class Tokens(nn.Module):
    """Hidden states as rows, one a token: for heads that answer for every token."""

    def forward(self, hidden: torch.Tensor, lay: Lay) -> torch.Tensor:
        """(1, T, D) or (P, L, D) → (T, D)."""
        return lay.taken(hidden, "padded" if lay.padded else "packed")

    def padded(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(P, L, D) as it is."""
        return hidden


class Unit(nn.Module):
    """Vectors brought to length one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(x, dim=-1)


@torch.no_grad()
def try_packing(encoder: Encoder, vocabulary: int) -> bool:
    """Let the encoder run texts packed if that computes what padding does; whether it may."""
    generator = torch.Generator().manual_seed(0)
    longest = min(encoder.window, 24)
    lengths = torch.tensor([longest, 1, max(1, longest // 3), longest - 1])
    x = torch.randint(vocabulary // 10, vocabulary, (int(lengths.sum()),), generator=generator)
    encoder.packs = False
    lay = encoder.lay(lengths)
    plain = lay.taken(encoder.hidden(x, lay), "padded")
    config = getattr(encoder.model, "config", None)
    for offset in (0, 1 + (getattr(config, "pad_token_id", None) or 0)):  # RoBERTa counts from behind its padding
        encoder.packs, encoder.offset = True, offset
        try:
            packed = encoder.hidden(x, encoder.lay(lengths))[0]
        except Exception:  # of whatever kind a network raises that does not know these arguments
            continue
        if packed.shape == plain.shape and bool(((packed - plain).abs().amax(0) <= SAME * plain.std(0)).all()):
            return True
    encoder.packs, encoder.offset = False, 0
    return False


def _summed(rows: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    return rows.new_zeros(count, rows.shape[1]).index_add(0, owner, rows)


@contextmanager
def _attending(model: nn.Module, how: str) -> Iterator[None]:
    """The model's attention is computed by this function of the library within the block."""
    configs: dict[int, Any] = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    before = {at: config._attn_implementation for at, config in configs.items()}
    try:
        for config in configs.values():
            config._attn_implementation_internal = how
        yield
    finally:
        for at, config in configs.items():
            config._attn_implementation_internal = before[at]


@contextmanager
def _line(model: nn.Module, pieces: tuple[int, ...]) -> Iterator[None]:
    """The model's attention is computed piece by piece within the block."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if "graft" not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register("graft", _attention)
    token = PIECES.set(pieces)
    try:
        with _attending(model, "graft"):
            yield
    finally:
        PIECES.reset(token)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each piece of a line, pieces of one length together: (1, H, T, d) → (1, T, H, d)."""
    causal = more.pop("is_causal", None)
    if odd := [name for name, value in more.items() if name not in IDLE and value is not None and value is not False]:
        raise ValueError(f"this attention goes by more than queries, keys and values: {', '.join(odd)}")
    causal = bool(getattr(module, "is_causal", False) if causal is None else causal)
    if key.shape[1] != query.shape[1]:
        key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value))
    q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))
    parts, at = [], 0
    for length, run in groupby(PIECES.get()):
        count = len(list(run))
        here = slice(at, at + count * length)
        at += count * length
        a, b, c = (t[here].unflatten(0, (count, length)).transpose(1, 2) for t in (q, k, v))
        made = nn.functional.scaled_dot_product_attention(a, b, c, None, dropout, causal, scale=scaling)
        parts.append(made.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)[None], None
