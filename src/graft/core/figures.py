"""Scores as people read them: shares in percent, R² as it is, errors in the unit of what is learned.

Errors are kept as negative numbers, so that higher is better everywhere; they are shown without the sign.
"""

from collections.abc import Sequence

ERRORS = ("rmse", "mae")
NAMES = {
    "r2": "R²", "rmse": "root mean squared error", "mae": "mean absolute error", "entity_f1": "F1 of entities",
    "sample_f1": "F1 of an example", "micro_f1": "F1 over all labels", "macro_f1": "F1 by label",
}  # fmt: skip


def called(metric: str) -> str:
    """The metric's name in a sentence."""
    return NAMES.get(metric, metric.replace("_", " "))


def best(metric: str) -> float:
    """The score that cannot be beaten."""
    return 0.0 if metric in ERRORS else 1.0


def is_share(metric: str) -> bool:
    """Whether the score is a share, from 0 to 1."""
    return metric not in (*ERRORS, "r2", "silhouette")


def score(value: float, metric: str) -> str:
    """A score: 93.1 %, 0.493 or 43.2."""
    return _bare(value, metric) + (" %" if is_share(metric) else "")


def plain(value: float, metric: str, digits: int = 3) -> str:
    """A score without percent: 0.931, 0.493 or 43.2."""
    return number(-value) if metric in ERRORS else f"{value:.{digits}f}"


def around(value: float, error: float, metric: str) -> str:
    """A score and its standard error: 0.931 ± 0.012."""
    return f"{plain(value, metric)} ± {number(error) if metric in ERRORS else f'{error:.3f}'}"


def interval(low: float, high: float, metric: str) -> str:
    """The ends of a score's interval, the smaller number first."""
    ends = (high, low) if metric in ERRORS else (low, high)
    return " to ".join(_bare(end, metric) for end in ends)


def gain(value: float, metric: str, sign: bool = False) -> str:
    """A difference of two scores, above 0 where the first is better: 2.8, 0.028 or 1.9."""
    if metric in ERRORS:
        return f"{'+' if sign and value >= 0 else ''}{number(value)}"
    plus = "+" if sign else ""
    return f"{100 * value:{plus}.1f}" if is_share(metric) else f"{value:{plus}.3f}"


def lead(gained: tuple[float, float, float], metric: str, rival: str = "") -> str:
    """Who leads by how much, with the interval: 2.8 points ahead of it (95 % interval 0.4 behind to 6.0 ahead)."""

    def side(value: float) -> str:
        return "behind" if value < 0 else "ahead"

    mean, low, high = gained
    size, least, most = (gain(abs(value), metric) for value in gained)
    if low < 0 < high:
        ends = f"{least} {side(low)} to {most} {side(high)}"
    else:
        ends = f"{least} to {most}" if low >= 0 else f"{most} to {least}"
    of = f" of {rival}" if rival and mean >= 0 else f" {rival}" if rival else ""
    return f"{size}{points(metric)} {side(mean)}{of} (95 % interval {ends})"


def points(metric: str) -> str:
    """What stands behind a difference of scores: points of percent; nothing where it is in a unit of its own."""
    return " points" if is_share(metric) else ""


def number(value: float) -> str:
    """Three digits, without an exponent as long as that is short."""
    return f"{float(f'{value:.3g}') + 0.0:g}"  # -0 is 0


def some(names: Sequence[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def about(count: int) -> str:
    """A number of examples as it is asked for: the next one of two digits."""
    step = 10 ** max(0, len(str(count)) - 2)
    return str(-(-count // step) * step)


def _bare(value: float, metric: str) -> str:
    return f"{100 * value:.1f}" if is_share(metric) else plain(value, metric)
