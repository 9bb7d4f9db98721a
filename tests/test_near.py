"""Near copies among the rows of a table: planted ones are found, rows that are merely neighbours are not named."""

import csv

import numpy as np
import pytest

import graft
from graft.core.examples import Audit
from graft.data.near import copies


def rows(seed: int, n: int, d: int) -> np.ndarray:
    """Correlated, skewed columns on scales of their own, some rounded."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    x[:, ::3] = np.exp(x[:, ::3] / d**0.5)
    x[:, 1::3] = np.round(x[:, 1::3], 1)
    return x * 10.0 ** rng.integers(-3, 4, d)


def test_tables_without_copies_raise_no_alarm():
    """One table in a hundred may, by the rule; of two hundred, in five sizes, four is where chance ends (p = .05)."""
    alarms = [bool(copies(list(rows(seed, n, d).T))) for n, d in ((40, 3), (120, 4), (200, 8), (600, 20), (90, 300))
              for seed in range(40)]  # fmt: skip
    assert sum(alarms) <= 4


@pytest.mark.parametrize(("n", "d"), [(200, 8), (600, 20), (90, 300)])
@pytest.mark.parametrize("each", [1, 3])
def test_noisy_copies_are_found(n, d, each):
    x, rng = rows(1, n, d), np.random.default_rng(2)
    chosen = np.sort(rng.choice(n, 10, replace=False))
    spread = x.std(0) / 300
    made = np.concatenate([x[chosen] + spread * rng.standard_normal((10, d)) for _ in range(each)])
    found = copies(list(np.concatenate([x, made]).T))
    named = {at for pair in found for at in pair}
    assert named == {*chosen.tolist(), *range(n, n + 10 * each)}
    origin = dict(zip(range(n, n + 10 * each), chosen.tolist() * each, strict=True))
    assert all(origin.get(a, a) == origin.get(b, b) for a, b in found)


def test_a_table_of_which_every_row_was_copied():
    x = rows(3, 300, 10)
    found = copies(list(np.concatenate([x, x + x.std(0) / 100 * np.random.default_rng(1).standard_normal(x.shape)]).T))
    assert {(at, at + 300) for at in range(300)} <= {*found}


def test_equal_rows_missing_values_and_constant_columns_are_no_near_copies():
    x = np.concatenate([rows(4, 100, 6), rows(4, 100, 6)])
    x[:, 5], x[::7, 2] = 3.0, np.nan
    x[100:] = x[:100]
    assert copies(list(x.T)) == []
    assert copies(list(x[:10].T)) == []
    assert copies([np.full(50, np.nan), np.full(50, 2.0)]) == []


def test_what_was_oversampled_before_the_split_is_named(tmp_path):
    """The usual leak: rows made up from others by a little noise, then a split that knows nothing of it."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    x, y = x[:300], y[:300]
    made = np.flatnonzero(y == 1)[:40]
    x = np.concatenate([x, x[made] * (1 + 0.003 * rng.standard_normal((40, x.shape[1])))])
    y = np.concatenate([y, y[made]])
    part = np.where(np.arange(len(x)) < 300, "train", np.where(np.arange(len(x)) % 2, "val", "test"))

    def audit(rows: int) -> Audit:
        with (tmp_path / "cells.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow([*[f"c{i}" for i in range(x.shape[1])], "part", "label"])
            at = [*range(rows)] if rows == len(x) else rng.permutation(rows)
            table.writerows([*x[i], part[i] if rows == len(x) else "", ("ill", "well")[y[i]]] for i in at)
        return graft.load(tmp_path / "cells.csv").audit

    leaking = audit(340)
    assert len(leaking.near_duplicates) >= 38
    first = leaking.near_duplicates[0]
    assert first[0].endswith(f"#{made[0] + 1}")
    assert first[1].endswith("#301")
    said = "look like one of another part: what is measured may be too good"
    (count,) = [int(note.split()[0]) for note in leaking.notes if said in note]
    assert count >= 76
    honest = audit(300)
    assert not honest.near_duplicates
    assert not any("alike" in note or "look like" in note for note in honest.notes)
