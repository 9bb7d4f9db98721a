"""Intervals: they hold what they promise on small test parts, with few seeds, and when all examples agree."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from graft.core.errors import DataError, PlanError
from graft.data.splits import folded
from graft.model.stats import example_weights, interval, needed, paired, power, shown, standard_error

TRIALS = 400


def outcomes(
    rng: np.random.Generator, ease: np.ndarray, seeds: int, level: float = 1.0, between: float = 0.1
) -> np.ndarray:
    """Right or wrong (S, N): examples of differing ease, and seeds of differing luck."""
    logits = level + 2 * ease + between * rng.normal(size=(seeds, 1))
    return (rng.random((seeds, len(ease))) < 1 / (1 + np.exp(-logits))).astype(float)


def expected(level: float = 1.0, between: float = 0.1) -> float:
    at, mass = np.polynomial.hermite_e.hermegauss(60)  # the mean over a normal variable, by quadrature
    return float(mass / mass.sum() @ (1 / (1 + np.exp(-level - np.hypot(2, between) * at))))


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("count", [30, 100, 300])
def test_coverage_and_false_alarms(count: int, seeds: int) -> None:
    rng = np.random.default_rng(0)
    between = 0.1 if seeds > 1 else 0.0  # one seed cannot tell how much others differ
    truth, covered, null_covered, alarms = expected(between=between), 0, 0, 0
    for trial in range(TRIALS):
        ease = rng.normal(size=count)
        a, b = outcomes(rng, ease, seeds, between=between), outcomes(rng, ease, seeds, between=between)
        _, low, high = interval(a, draws=300, seed=trial)
        covered += low <= truth <= high
        _, low, high = paired(a, b, draws=300, seed=trial)
        null_covered += low <= 0 <= high
        alarms += low > 0
    assert covered / TRIALS >= 0.92
    assert null_covered / TRIALS >= 0.92
    assert alarms / TRIALS <= 0.04


def test_a_real_gain_is_found() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for trial in range(100):
        ease = rng.normal(size=200)
        gain = paired(outcomes(rng, ease, 2, level=2.5), outcomes(rng, ease, 2), draws=300, seed=trial)
        found += gain[1] > 0
    assert found > 90


@pytest.mark.parametrize("count", [5, 10, 50])
def test_agreement_is_not_certainty(count: int) -> None:
    right, wrong = np.ones((1, count)), np.zeros((1, count))
    mean, low, high = interval(right)
    assert (mean, high) == (1.0, 1.0)
    assert 1 - 6 / count < low < 1 - 1.2 / count  # the exact (Clopper-Pearson) bound is near 1 - 3.7 / n
    assert interval(wrong)[0] == 0.0 < interval(wrong)[2]
    mean, low, high = paired(right, right)
    assert mean == 0.0
    assert low < 0 < high
    assert paired(right, wrong)[1] > (0 if count > 5 else -1)


def test_pairing_removes_what_both_find_hard() -> None:
    rng = np.random.default_rng(0)
    base = (rng.random((1, 200)) < 0.6).astype(float)
    better = base.copy()
    better[0, np.flatnonzero(base[0] == 0)[:12]] = 1.0  # wins 12, loses none
    mean, low, high = paired(better, base)
    assert mean == pytest.approx(0.06)
    assert low > 0
    assert high - low < 0.5 * (interval(better)[2] - interval(better)[1] + interval(base)[2] - interval(base)[1])


def test_seeds_that_differ_widen_and_copies_do_not_narrow() -> None:
    rng = np.random.default_rng(0)
    one = (rng.random((1, 400)) < 0.7).astype(float)
    copies = interval(np.repeat(one, 5, axis=0))
    assert copies[2] - copies[1] == pytest.approx(interval(one)[2] - interval(one)[1], rel=0.1)
    lucky = np.vstack([rng.random((1, 400)) < p for p in (0.5, 0.7, 0.9)]).astype(float)
    for low, high in (interval(lucky)[1:], paired(lucky, one)[1:], paired(one, lucky)[1:]):
        assert high - low > 2 * (copies[2] - copies[1])


def test_two_seeds_are_spread_as_far_as_their_variance_says() -> None:
    at = np.linspace(0, 1, 20_000)
    mean, low, high = interval(np.vstack([at < 0.6, at < 0.7]), draws=500)  # so many examples add next to nothing
    unbiased = np.sqrt(np.var([0.6, 0.7], ddof=1) / 2)
    assert mean == pytest.approx(0.65, abs=1e-3)
    assert (high - low) / 2 == pytest.approx(np.sqrt(2) * unbiased, rel=0.1)  # both draws the same seed: ±√2 deviations


def test_weights_turn_accuracy_into_balanced_accuracy() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 3], [180, 15, 5])
    said = np.where(rng.random(200) < 0.8, y, 0)
    right = (said == y).astype(float)
    weights = example_weights(y, "balanced_accuracy")
    assert weights.sum() == pytest.approx(1)
    assert interval(right, weights)[0] == pytest.approx(balanced_accuracy_score(y, said))
    assert interval(right, example_weights(y))[0] == pytest.approx(right.mean())
    plain, balanced = interval(right), interval(right, weights)
    assert balanced[2] - balanced[1] > 2 * (plain[2] - plain[1])  # 5 examples carry a third of it
    assert standard_error(right, weights) > 2 * standard_error(right, example_weights(y))


def test_balanced_coverage() -> None:
    y = np.repeat([0, 1], [140, 20])
    weights, rng, covered = example_weights(y, "balanced_accuracy"), np.random.default_rng(0), 0
    for trial in range(TRIALS):
        right = (rng.random(160) < np.where(y == 0, 0.9, 0.6)).astype(float)
        _, low, high = interval(right, weights, draws=300, seed=trial)
        covered += low <= 0.75 <= high
    assert covered / TRIALS >= 0.92


def test_standard_error_is_the_textbook_one_and_never_zero() -> None:
    right = np.arange(1000) % 4 > 0
    assert standard_error(right, np.full(1000, 1e-3)) == pytest.approx(np.sqrt(0.75 * 0.25 / 1000), rel=0.01)
    assert standard_error(np.ones(8), np.full(8, 1 / 8)) > 0.05


def test_needed_examples_are_just_enough() -> None:
    rng = np.random.default_rng(0)
    gains = rng.choice([-1.0, 0.0, 1.0], size=100_000, p=[0.05, 0.84, 0.11])
    count = needed(float(gains.mean()), float(gains.std()))
    assert count is not None

    def found(examples: int) -> float:
        return float(
            np.mean([paired(rng.choice(gains, examples), np.zeros(examples), draws=200)[1] > 0 for _ in range(60)])
        )

    assert 0.3 < found(count) < 0.75  # at the edge: about half the time
    assert found(4 * count) > 0.9
    assert needed(0.0, 0.4) is None
    assert needed(-0.06, 0.4) == needed(0.06, 0.4)


def test_a_wider_level_is_wider_and_a_seed_repeats() -> None:
    right = np.random.default_rng(0).integers(0, 2, (2, 80))
    assert interval(right, level=0.99)[1] < interval(right, level=0.9)[1]
    assert interval(right, seed=3) == interval(right, seed=3)


def test_refusals() -> None:
    with pytest.raises(DataError, match="80 and 79"):
        paired(np.ones((1, 80)), np.ones((1, 79)))
    with pytest.raises(DataError, match="at least one example"):
        interval(np.ones((2, 0)))
    with pytest.raises(DataError, match=r"\(1, 5\) with \(4,\)"):
        interval(np.ones(5), np.ones(4))
    with pytest.raises(PlanError, match="Did you mean accuracy"):
        example_weights([0, 1], "acuracy")


def crossed(rng: np.random.Generator, count: int, columns: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether ridge classifiers on two tables of equally telling columns are right, out of five folds: (R, N) twice."""
    y = rng.integers(0, 2, count)
    sides = [2.0 / np.sqrt(columns) * y[:, None] * np.sign(rng.normal(size=columns)) for _ in range(2)]
    tables = [side + rng.normal(size=(count, columns)) for side in sides]
    right = np.empty((2, repeats, count))
    for repeat in range(repeats):
        fold = np.array(folded([str(k) for k in y], [str(row) for row in range(count)], repeat, 5))
        for number, x in enumerate(tables):
            for k in range(5):
                train, centre = fold != k, x[fold != k].mean(0)
                z, t = x[train] - centre, y[train] - y[train].mean()
                w = np.linalg.solve(z.T @ z + 0.1 * len(z) * np.eye(columns), z.T @ t)
                said = (x[~train] - centre) @ w + y[train].mean() > 0.5
                right[number, repeat, ~train] = said == y[~train]
    return right[0], right[1]


@pytest.mark.parametrize(("count", "columns", "repeats"), [(60, 5, 1), (60, 5, 2), (100, 40, 2), (100, 90, 2)])
def test_folds_do_not_alarm_where_two_are_equally_good(count: int, columns: int, repeats: int) -> None:
    """Neither table tells more than the other, whatever is drawn: the truth is zero for the procedure."""
    rng, trials = np.random.default_rng(count + repeats), 200
    high, naive = 0, 0
    for trial in range(trials):
        a, b = crossed(rng, count, columns, repeats)
        gain = paired(a, b, draws=400, seed=trial, folds=True)
        plain = paired(a.mean(0), b.mean(0), draws=400, seed=trial, shares=True)
        high += gain[1] > 0 or gain[2] < 0
        naive += plain[1] > 0 or plain[2] < 0
    assert high / trials <= 0.08  # 5 %, and what 200 trials leave open
    assert high < naive  # as if the folds were examples of their own it alarms more often


def test_only_what_hangs_on_the_folds_is_widened() -> None:
    rng = np.random.default_rng(0)
    one = (rng.random((1, 300)) < 0.7).astype(float)
    alike, apart = np.repeat(one, 2, axis=0), (rng.random((2, 300)) < 0.7).astype(float)
    widths = [high - low for _, low, high in (interval(t, folds=True) for t in (alike, one, apart))]
    plain = interval(one)[2] - interval(one)[1]
    assert widths[0] == pytest.approx(plain, rel=0.05)  # repetitions agree: nothing hangs on the folds
    assert widths[1] == pytest.approx(1.5 * plain, rel=0.05)  # one repetition: all of it may
    assert widths[2] == pytest.approx(1.5 * plain, rel=0.05)


def test_a_gain_is_the_difference_of_the_scores_also_where_one_was_asked_more_often() -> None:
    rng = np.random.default_rng(0)
    often, once = ((rng.random((times, 60)) < 0.7).astype(float) for times in (2, 1))
    for a, b in ((often, once), (once, often)):
        gain = paired(a, b, folds=True)
        assert gain[0] == pytest.approx(interval(a, folds=True)[0] - interval(b, folds=True)[0])
        assert gain[1] < gain[0] < gain[2]


def test_people_are_resampled_whole() -> None:
    """A person's examples are alike: as if each were a draw of its own, an interval would miss the truth too often."""
    rng, naive, held = np.random.default_rng(0), 0, 0
    for trial in range(TRIALS):
        ease = np.repeat(rng.normal(0, 0.6, 12), 20)
        right = (rng.random(240) < np.clip(0.5 + 0.3 * ease, 0, 1)).astype(float)
        who = [f"s{k}" for k in np.repeat(np.arange(12), 20)]
        for groups in ((), who):
            _, low, high = interval(right, draws=300, seed=trial, groups=groups)
            inside = low <= 0.5 <= high
            naive, held = (naive + inside, held) if not groups else (naive, held + inside)
    assert naive / TRIALS < 0.85
    assert held / TRIALS >= 0.90
    for people, bound in ((5, 0.03), (8, 0.03)):  # at 99 %, where few people tell little of their own spread
        missed = 0
        for trial in range(4 * TRIALS):
            gains = np.repeat(np.random.default_rng(trial).normal(0, 1, people), 10)
            whose = [f"s{k}" for k in np.repeat(np.arange(people), 10)]
            _, low, high = paired(gains, np.zeros_like(gains), level=0.99, draws=500, seed=trial, groups=whose)
            missed += not low <= 0 <= high
        assert missed / (4 * TRIALS) <= bound, people
    few = ["a", "b"] * 120
    assert interval(right, groups=few) == interval(right)  # of two people nothing can be learned about others


def test_a_gain_that_a_test_shows_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(0)

    def drawn(gain: float) -> tuple[float, float, float]:
        return paired(
            rng.choice([-1.0, 0.0, 1.0], 300, p=[0.1 - gain / 2, 0.8, 0.1 + gain / 2]), np.zeros(300), draws=300
        )

    least = float(np.mean([shown(drawn(0.0)) for _ in range(20)]))
    found = np.mean([drawn(least)[1] > 0 for _ in range(200)])
    assert 0.7 < found < 0.9
    assert needed(least, np.sqrt(0.2), power=0.8) == pytest.approx(300, rel=0.1)


def test_folds_hold_every_stratum_and_keep_people_and_copies_together() -> None:
    strata = ["a"] * 50 + ["b"] * 23 + ["c"] * 5
    ids = [str(row) for row in range(77)] + ["0"]  # the last is a copy of the first
    fold = folded(strata, ids, 0, 5)
    assert {stratum: {f for f, s in zip(fold, strata, strict=True) if s == stratum} for stratum in "abc"} == {
        stratum: {0, 1, 2, 3, 4} for stratum in "abc"
    }
    assert fold[-1] == fold[0]
    counts = np.array([np.bincount(np.array(fold)[np.array(strata) == s], minlength=5) for s in "ab"])
    assert (np.ptp(counts, axis=1) <= 1).all()
    assert folded(strata, ids, 1, 5) != fold == folded(strata, ids, 0, 5)
    who = [f"s{row % 9}" for row in range(78)]
    apart = folded(strata, ids, 0, 5, who)
    assert all(len({f for f, w in zip(apart, who, strict=True) if w == name}) == 1 for name in who)
    assert set(apart) == {0, 1, 2, 3, 4}


def test_power_is_the_share_of_tests_that_show_a_gain() -> None:
    rng = np.random.default_rng(0)

    def drawn(gain: float) -> tuple[float, float, float]:
        return paired(
            rng.choice([-1.0, 0.0, 1.0], 400, p=[0.1 - gain / 2, 0.8, 0.1 + gain / 2]), np.zeros(400), draws=300
        )

    for size in (0.0, 0.04, 0.08):
        told = np.mean([power(size, drawn(0.0)) for _ in range(20)])
        assert told == pytest.approx(np.mean([drawn(size)[1] > 0 for _ in range(200)]), abs=0.1)
    gain = (0.0, -0.05, 0.05)
    assert power(shown(gain), gain) == pytest.approx(0.8)
    assert power(0.0, gain) == pytest.approx(0.025)
