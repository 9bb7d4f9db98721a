"""Arrays that come from outside, in float64 and checked: rows with labels, two sets of rows, the same rows twice."""

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graft.core.errors import DataError

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

CONTINUOUS = 0.5  # share of labels with a fraction that differ: from here on they measure something and name no class


def labelled(features: ArrayLike, labels: ArrayLike) -> tuple[Array, Labels, Array]:
    """Features (N, D) in their own `unit`, labels (N,) as indices 0 … C-1, and how many of each: (C,).

    Raises:
        DataError: no two rows, lengths that differ, or values that are not finite numbers.
    """
    f = rows(features, "features")
    index, sizes = classes(labels, len(f))
    return unit(f)[0], index, sizes


def classes(labels: ArrayLike, count: int, name: str = "labels") -> tuple[Labels, Array]:
    """Labels as indices 0 … C-1 whatever their names were, and how many of each, where there is one for each row.

    Raises:
        DataError: another number of labels, some that are missing, text among numbers, or a measurement.
    """
    given = array(labels, name)
    if given.shape != (count,):
        raise DataError(f"There are {count} rows but {name} of shape {given.shape}: give one label a row.")
    if given.dtype.kind not in "biufUST":
        given = _told(given.astype(object), name)
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise DataError(f"{int((~np.isfinite(given)).sum())} of {count} {name} are not finite: leave those rows out.")
    names, index, sizes = np.unique(given, return_inverse=True, return_counts=True)
    if given.dtype.kind == "f" and (names != np.floor(names)).any() and len(names) > CONTINUOUS * count:
        raise DataError(
            f"{len(names)} of {count} {name} differ and have fractions, such as {names[0]} and {names[-1]}: they are "
            "measurements, not classes. Cut them into ranges first, or give whole numbers or text."
        )
    return index.astype(np.int64), sizes.astype(np.float64)


def _told(given: NDArray[np.object_], name: str) -> NDArray[np.generic]:
    """Labels (N,) of any Python type as an array of the one kind they all are."""
    text = [isinstance(one, (str, bytes)) for one in given]
    usable = [told or (isinstance(one, (Real, np.bool_)) and one == one) for one, told in zip(given, text, strict=True)]
    missing = [one for one, fine in zip(given, usable, strict=True) if not fine]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(given)} {name} are missing or neither text nor numbers, such as {missing[0]!r}: "
            "leave those rows out."
        )
    if len(set(text)) > 1:
        one, other = given[text.index(True)], given[text.index(False)]
        raise DataError(f"Some {name} are text and some are numbers, such as {one!r} and {other!r}: give one kind.")
    return np.array(given.tolist())


def sets(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array, int]:
    """Two sets of rows with the same columns, (N, D) and (M, D), in the `unit` of both, 2^k; and k.

    Raises:
        DataError: no two rows in one of them, columns that differ, or values that are not finite numbers.
    """
    first, second = rows(a, "a"), rows(b, "b")
    if first.shape[1] != second.shape[1]:
        raise DataError(
            f"a has {first.shape[1]} columns and b has {second.shape[1]}: both sets need the same features."
        )
    both, k = unit(np.concatenate([first, second]))
    return both[: len(first)], both[len(first) :], k


def rows(values: ArrayLike, name: str) -> Array:
    """Rows (N, D) in float64, at least two of them.

    Raises:
        DataError: another shape, or values that are not finite numbers.
    """
    x = numbers(values, name)
    if x.ndim != 2 or len(x) < 2 or not x.shape[1]:
        raise DataError(f"{name} must be at least 2 rows of at least 1 column, (N, D), not {x.shape}.")
    if bad := int((~np.isfinite(x)).any(1).sum()):
        raise DataError(f"{bad} of {len(x)} rows of {name} hold values that are not finite: leave them out.")
    return x


def numbers(values: ArrayLike, name: str) -> Array:
    """An array of real numbers in float64; what would lose or invent something on the way is refused.

    Raises:
        DataError: rows of different lengths, a mask, text, complex numbers, or anything else that is no real number.
    """
    x = array(values, name)
    if x.dtype == object:
        odd = [one for one in x.ravel() if not isinstance(one, (Real, np.bool_))]
    else:
        odd = x.ravel()[:1].tolist() if x.dtype.kind in "cUSTMm" else []
    if odd and isinstance(odd[0], complex):
        raise DataError(f"{name} are complex: give their real and imaginary parts, or their sizes, as columns.")
    if odd:
        raise DataError(
            f"{name} must be numbers, but hold {odd[0]!r}: turn them into numbers, or leave those rows out."
        )
    return x.astype(np.float64, copy=False)


def array(values: ArrayLike, name: str) -> NDArray[np.generic]:
    """What was given, as an array; lists that hold text keep each value as it is, else numbers would turn into text."""
    if np.ma.is_masked(values):
        raise DataError(f"{name} have masked values, which no score leaves out: take those rows out, or fill them.")
    try:
        x = np.asarray(values)
        return np.asarray(values, object) if x.dtype.kind in "USO" and not hasattr(values, "__array__") else x
    except ValueError as error:
        raise DataError(f"{name} are no array, as where rows differ in length: {error}") from error


def unit(x: Array) -> tuple[Array, int]:
    """Values in units of 2^k, the largest from ½ to 1, and k: exact, and squares neither overflow nor vanish."""
    k = int(np.frexp(np.abs(x).max(initial=0.0))[1])
    return np.ldexp(x, -k), k


def magnified(value: float, k: int) -> float:
    """value · 2^k.

    Raises:
        DataError: a number cannot hold it.
    """
    try:
        found = math.ldexp(value, k)
    except OverflowError:
        found = math.inf
    if value and not np.finfo(np.float64).tiny <= abs(found) < math.inf:
        raise DataError(
            f"In the features' own unit this is about 10^{math.log10(abs(value)) + k * math.log10(2):.0f}, which no "
            "number holds: scale the features first."
        )
    return found


def in_order(x: Array) -> Array:
    """The columns of (N, D) in an order that only their values set, so that folds do not go by how they came.

    Columns of zeros come last.
    """
    content = (x + 0.0).view(np.uint64).sum(0)  # modulo 2⁶⁴: exact, whatever the order of the rows
    return np.asarray(x[:, np.argsort(~content, kind="stable")])
