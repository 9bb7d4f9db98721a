"""Parts: stratified, deterministic, and never two copies of one example on two sides."""

from collections import defaultdict
from collections.abc import Sequence

from graft.core.keys import key

SHARES = {"test": 0.2, "val": 0.15}  # of each class; the rest trains


def split(labels: Sequence[str], ids: Sequence[str], seed: int, wanted: Sequence[str] = ("test", "val")) -> list[str]:
    """The part of each example: "train", or one of those wanted.

    Examples with one id stay together. Within a class the order is that of a hash of id and seed, so that adding
    examples moves few of the others, and the same files always give the same parts. Each wanted part gets at least one
    example of every class, as long as one is left to train.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, (label, id) in enumerate(zip(labels, ids, strict=True)):
        members[label][id].append(row)
    parts = ["train"] * len(labels)
    for label in sorted(members):
        distinct = sorted(members[label], key=lambda id: key("split", seed, id))
        taken = 0
        for part in wanted:
            count = min(max(1, round(SHARES[part] * len(distinct))), max(0, len(distinct) - taken - 1))
            for id in distinct[taken : taken + count]:
                for row in members[label][id]:
                    parts[row] = part
            taken += count
    return parts
