"""What becomes of the weights of several runs: shares of each, found on validation, that add up to one.

A choice asks `judge` for the rank (score, negated loss; higher is better) of the network that some shares make. As the
members themselves are among what it asks for, the outcome ranks no lower than any of them; unless it is `sure`, which
gives up what chance may have given: `error` is a standard error of a score.
"""

from collections.abc import Callable, Sequence

import torch

State = dict[str, torch.Tensor]
Shares = tuple[float, ...]
Rank = tuple[float, float]
Judge = Callable[[Shares], Rank]

GRID = tuple(step / 10 for step in range(11))  # of a line from one end to the other, both ends among them


def best(count: int, judge: Judge, error: float = 0.0) -> Shares:
    """The one that ranks highest; of equals, the first."""
    return max((_even(count, {one}) for one in range(count)), key=judge)


def soup(count: int, judge: Judge, error: float = 0.0) -> Shares:
    """The greedy soup (Wortsman et al. 2022): from the best down, each is stirred in if the mean is then no worse."""
    ranks = {one: judge(_even(count, {one})) for one in range(count)}
    first, *others = sorted(ranks, key=lambda one: ranks[one], reverse=True)
    kept, rank = {first}, ranks[first]
    for one in others:
        if (mean := judge(_even(count, kept | {one}))) >= rank:
            kept, rank = kept | {one}, mean
    return _even(count, kept)


def line(count: int, judge: Judge, error: float = 0.0) -> Shares:
    """The best point between two: α of the first and 1 - α of the second (WiSE-FT, Wortsman et al. 2022)."""
    assert count == 2, "a line has two ends"
    return max(((alpha, round(1 - alpha, 1)) for alpha in GRID), key=judge)


def sure(count: int, judge: Judge, error: float) -> Shares:
    """The best of all but the last if it scores a standard error more than the last, else that: the plainer one.

    The rule of one standard error (Breiman et al. 1984): of few examples, the best of many looks is often luck.
    """
    *others, last = (_even(count, {one}) for one in range(count))
    first = max(others, key=judge, default=last)
    return first if judge(first)[0] > judge(last)[0] + error else last


CHOICES: dict[str, Callable[[int, Judge, float], Shares]] = {"best": best, "soup": soup, "line": line, "sure": sure}


def mixed(members: Sequence[State], shares: Shares) -> State:
    """Every tensor as Σ share · member in double precision; what is whole numbers is that of the largest share.

    One member alone comes back to the bit.
    """
    largest = members[max(range(len(shares)), key=shares.__getitem__)]
    used = [(share, member) for share, member in zip(shares, members, strict=True) if share]
    if len(used) == 1:
        return dict(largest)
    return {
        name: sum(share * member[name].double() for share, member in used).to(tensor.dtype)  # type: ignore[union-attr]
        if tensor.is_floating_point()
        else tensor
        for name, tensor in largest.items()
    }


def _even(count: int, members: set[int]) -> Shares:
    return tuple(1 / len(members) if one in members else 0.0 for one in range(count))
