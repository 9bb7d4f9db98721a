"""The verdict on few labels: folds that keep apart, seeds that break, classes that are harmed, planted gains."""

import importlib
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

import graft
from graft import words
from graft.build import build, suited
from graft.clock import WHOLE
from graft.core.errors import TrainingDiverged
from graft.core.nouns import Budget, Part, Phase, Plan, Sealed
from graft.entries import Entry, asked, entry
from graft.folds import FOLDS, SMALL, distinct, foldable, folds, joined, once
from graft.rank import ranked
from graft.scratch import blank, scratch, smaller
from graft.seeds import TRIES, dead, reseeded
from graft.verdict import judged

FAST = Budget(seconds=20, firm=False)
ONE = "tiny/shapes"
HEAD = (Phase(("head",), solver="exact"),)


@pytest.fixture(scope="module")
def task(tiny_place, photos):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(tiny_place))
        return graft.load(photos)


@pytest.fixture(scope="module")
def run(tiny_place, task):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(tiny_place))
        return graft.adapt(task, Plan(graft.find(ONE), task.head, "linear_probe", HEAD))


@pytest.mark.parametrize("repeat", [0, 1])
@pytest.mark.parametrize("grouped", [False, True])
def test_each_example_is_tested_once_and_never_learned_from_there(task, repeat, grouped) -> None:
    parts = (task.train, task.val, task.test.part)
    if grouped:  # people whom the parts keep apart
        parts = tuple(
            replace(part, groups=tuple(f"{number}{row % 6}" for row in range(len(part))))
            for number, part in enumerate(parts)
        )
    one = replace(task, train=parts[0], val=parts[1], test=Sealed(parts[2]))
    made = folds(one, distinct(parts[2]), repeat)
    assert len(made) == FOLDS
    assert len({fold.key for fold in made}) == FOLDS
    tested = [id for fold in made for id in fold.test.ids]
    assert sorted(tested) == sorted({id for part in parts for id in part.ids})
    for fold in made:
        assert not set(fold.test.ids) & {*fold.train.ids, *fold.val.ids}
        assert not set(fold.val.ids) & set(fold.train.ids)
        assert len(fold.train) > 2 * len(fold.test)
        if grouped:
            assert not set(fold.test.part.groups) & {*fold.train.groups, *fold.val.groups}
    assert (made[0] is one) == (repeat == 0)


def test_folds_are_made_only_where_they_answer_the_same_question(task, run, tiny_home) -> None:
    assert foldable(task, run, FAST)
    assert task.test.reasons == []  # without a look
    given = replace(task, audit=replace(task.audit, drawn=False))  # a part that the data name may differ on purpose
    assert not foldable(given, run, FAST)
    many = Part(("x",) * SMALL, (0,) * SMALL, tuple(map(str, range(SMALL))))
    assert not foldable(replace(task, test=Sealed(many)), run, FAST)
    slow = replace(
        run, plan=replace(run.plan, phases=(Phase(("head",), steps=9),)), cost=replace(run.cost, seconds=3.0)
    )
    assert not foldable(task, slow, FAST)  # 4 × 3 s are more than 8 s
    assert foldable(task, slow, Budget(seconds=40))


def test_who_could_have_had_folds_is_told(task, run, tiny_home) -> None:
    """A plan that takes too long for five of it: the report says so, and that a firm budget was too short for it."""
    tuned = replace(run.plan, phases=(*run.plan.phases, Phase(("head",), steps=9)))
    done = graft.adapt(task, tuned)
    slow = replace(done, cost=replace(done.cost, seconds=9.0))
    report = graft.verify(task, slow, FAST)
    assert report.folds == 0
    assert any("at 9 s a run that takes too long" in note for note in report.notes)
    firm = graft.verify(task, slow, replace(FAST, seconds=30, firm=True))
    assert firm.folds == 0
    assert WHOLE in firm.left_out
    assert f"{WHOLE} (about 36 s)" in " ".join(firm.notes)
    assert set(report.power) == {"1", "2", "4", "8"}
    assert list(report.power.values()) == sorted(report.power.values())


def test_a_fold_s_model_is_asked_and_not_kept(task, run, tiny_home) -> None:
    from graft.core.home import home

    fold = folds(task, distinct(task.test.part), 1)[0]
    before = {place.name for place in (home() / "runs").iterdir() if place.is_dir()}
    answers, y = once(fold, run.plan, run.seed)
    assert {place.name for place in (home() / "runs").iterdir() if place.is_dir()} == before
    assert y.tolist() == list(fold.test.part.targets)
    assert answers.shape == (len(fold.test), len(task.outputs))
    assert np.mean(answers.argmax(1) == y) > 0.5


def test_the_report_of_few_labels_is_over_all_of_them(task, run, tiny_home) -> None:
    report = graft.verify(task, run, FAST)
    everything = joined(task.train, task.val, task.test.part)
    assert (report.n_test, report.folds) == (len(distinct(everything)), FOLDS)
    told = " ".join(report.notes)
    assert "every row was fitted anew in 5 folds" in told
    assert f"would show a gain of {100 * report.shows:.1f} points" in told
    level, normal = 1 - 0.05 / ranked(task), NormalDist()  # by all backbones that were compared on these examples
    deviations = normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(0.8)
    assert report.shows == pytest.approx(deviations * (report.gain[2] - report.gain[1]) / 3.92)
    assert len(report.test_openings) == len(set(report.test_openings))


# ── from scratch ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("more", "given"), [({"trials": 21}, 21), ({"alternatives": (HEAD,) * 14}, 15)])
def test_scratch_has_as_many_trials_as_transfer_had(task, run, tiny_home, monkeypatch, more, given) -> None:
    """Plans of a search, or a plan's alternatives, where they are more than the backbones."""

    class Asked(Exception):
        pass

    def asks(task, run, test, net, seconds, trials, short):
        raise Asked(trials)

    monkeypatch.setattr(importlib.import_module("graft.verify"), "scratch", asks)
    other = Budget(seconds=19, firm=False)  # of which no report is kept
    with pytest.raises(Asked, match=f"^{given}$"):
        graft.verify(task, replace(run, plan=replace(run.plan, **more)), other)


def test_a_smaller_network_from_scratch_says_its_size_and_what_the_cap_cut_off(task, run, tiny_home) -> None:
    large = replace(run, plan=replace(run.plan, backbone=graft.find("package/resnet18")))
    test = asked(task, distinct(task.test.part))
    net = blank(task, large)
    row = scratch(task, large, test, smaller(task, large, net), 2.0, 21).row
    assert (row.name, row.trials, row.transfers) == ("scratch_small", 7, False)
    chain = build(graft.find(ONE), task.head, len(task.outputs), 0, pretrained=False)[0]
    size = sum(parameter.numel() for parameter in chain.network.parameters())
    assert row.note.startswith(f"tiny/net, {size:,} parameters, ")
    assert "rates tried (7; transfer chose from 21): " in row.note
    assert smaller(task, run, blank(task, run)) is None  # this one is as small


def test_a_table_of_many_columns_has_a_smaller_network_too(tmp_path, tiny_home) -> None:
    rng, y = np.random.default_rng(0), np.arange(80) % 2
    x = rng.normal(size=(80, 1500)) + y[:, None] * (np.arange(1500) < 150)
    np.savez(tmp_path / "genes.npz", X=x.astype(np.float32), y=np.array(["well", "ill"])[y])
    task = graft.load(tmp_path / "genes.npz")
    backbone = suited(graft.find("blank/mlp"), task)
    one = graft.adapt(task, Plan(backbone, task.head, "linear_probe", HEAD))
    made = scratch(task, one, asked(task, distinct(task.test.part)), smaller(task, one, blank(task, one)), 1.0)
    assert made.row.note.startswith("blank/mlp_small, 100")  # 64 for each column, and one block
    assert made.row.score >= 0.75


def test_where_there_is_no_smaller_network_the_row_says_so(task, run, tiny_home, monkeypatch) -> None:
    monkeypatch.setattr("graft.scratch.SMALL", {})
    test = asked(task, distinct(task.test.part))
    net = blank(task, run)
    assert smaller(task, run, net) is None
    assert any("no smaller network for the modality image" in note for note in scratch(task, run, test, net, 1.0).notes)


# ── seeds ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_run_is_told_and_begun_anew(task, run, monkeypatch) -> None:
    import graft.seeds as seeds

    monkeypatch.setattr(seeds, "adapt", lambda task, plan, seed: replace(run, seed=seed))
    monkeypatch.setattr(seeds, "dead", lambda task, one: "it never moved." if one.seed == 0 else "")
    found = reseeded(task, run.plan)
    assert (found.seed, found.notes) == (
        1000,
        ("Seed 0 of linear_probe was dead, and was begun anew from seed 1000: it never moved.",),
    )
    monkeypatch.setattr(seeds, "dead", lambda task, one: "it never moved.")
    found = reseeded(task, run.plan)  # the first, where no seed mends it
    assert (found.seed, len(found.notes)) == (0, TRIES)


def test_an_answer_that_never_changes_is_dead_and_an_exact_head_is_not(task, run, tiny_home, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(run.weights)
    for name in [name for name in state if name.startswith("head")]:
        state[name].zero_()
    state["head.bias"][1] = 1.0
    save_file(state, tmp_path / "still.safetensors")
    tuned = replace(run.plan, phases=(Phase(("head",), steps=9),))
    still = replace(run, weights=str(tmp_path / "still.safetensors"), plan=tuned)
    assert dead(task, still) == f"it answers {task.outputs[1]!r} for every validation example."
    assert dead(task, replace(run, plan=tuned)) == ""
    assert dead(task, replace(still, plan=run.plan)) == ""  # no other seed would find more in these features


def test_divergence_is_told_and_begun_anew(task, run, tiny_home, monkeypatch) -> None:
    import graft.seeds as seeds

    def fails(task, plan, seed):
        if seed < 1000:
            raise TrainingDiverged("The loss is nan.")
        return replace(run, seed=seed)

    monkeypatch.setattr(seeds, "adapt", fails)
    found = reseeded(task, run.plan, 3)
    assert found.seed == 1003
    assert found.notes == ("Seed 3 of linear_probe diverged: The loss is nan.",)

    def always(task, plan, seed):
        raise TrainingDiverged("The loss is inf.")

    monkeypatch.setattr(seeds, "adapt", always)
    with pytest.raises(TrainingDiverged):
        reseeded(task, run.plan)


# ── what the figures allow ────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(task, test, right: np.ndarray, name: str, **more) -> Entry:
    """An entry that is right on these examples and answers the next class on the others."""
    y = np.array(test.part.targets)
    given = np.where(right, y, (y + 1) % len(task.outputs))
    logits = np.eye(len(task.outputs))[given].astype(np.float32)
    answers = [(logits, y)] * (2 if test.folds else 1)
    return entry(name, task, test, answers, 0.5, graft.core.nouns.Cost(), lambda fold: (logits, y), **more)


def planted(task, count: int, groups: tuple[str, ...] = ()) -> Part:
    rows = range(count)
    return Part(tuple(map(str, rows)), tuple(row % 3 for row in rows), tuple(map(str, rows)), groups)


def reported(task, run, right: np.ndarray, other: np.ndarray, **more):
    test = asked(task, planted(task, len(right), more.get("groups", ())), **more)
    others = [
        rows_of(task, test, other, "pixels"),
        rows_of(task, test, other & False, "trivial"),
        rows_of(task, test, other & False, "scratch"),
    ]
    return judged(task, run, [run], rows_of(task, test, right, "adapted"), others, test, ("a test",))


def test_a_class_that_is_harmed_is_named(task, run) -> None:
    rng, y = np.random.default_rng(0), np.arange(600) % 3
    other = rng.random(600) < 0.8
    right = np.where(y == 1, rng.random(600) < 0.5, rng.random(600) < 0.97)
    report = reported(task, run, right, other)
    assert report.verdict != "negative"
    (worse,) = [note for note in report.notes if "surely worse" in note]
    assert task.outputs[1] in worse
    assert task.outputs[0] not in worse
    same = reported(task, run, other, other)
    assert not [note for note in same.notes if "surely" in note]
    assert "CPU s, its head alone]" in words.rows(same)
    tuned = replace(run, plan=replace(run.plan, phases=(*HEAD, Phase(("head", "stages[1:]"), steps=9))))
    assert "its head alone" not in words.rows(reported(task, tuned, other, other))


def test_those_whom_examples_come_from_are_slices_of_their_own(task, run) -> None:
    """Adapted is right on all of Ann's and no other; Bo's are told, too, and Cy's, being four, are not."""
    groups = ("Ann",) * 30 + ("Bo",) * 26 + ("Cy",) * 4
    right, other = np.array([name == "Ann" for name in groups]), np.arange(60) % 2 == 0
    found = {one.name: one for one in reported(task, run, right, other, groups=groups).slices}
    ann, bo = found["of Ann"], found["of Bo"]
    assert "of Cy" not in found
    assert [(one.count, one.score, one.reference) for one in (ann, bo)] == [(30, 1.0, 0.5), (26, 0.0, 0.5)]
    assert [one.gain[0] for one in (ann, bo)] == pytest.approx([0.5, -0.5], abs=0.1)


def test_what_was_chosen_from_many_must_be_surer(task, run) -> None:
    """A gain that passes at 95 % does not where it is the best of a dozen, chosen by these examples."""
    rng = np.random.default_rng(0)
    other = rng.random(250) < 0.7
    right = other.copy()
    right[np.flatnonzero(~other)[:9]] = True
    right[np.flatnonzero(other)[:1]] = False
    found = [reported(task, run, right, other, folds=5, ranked=ranked) for ranked in (1, 12)]
    assert [report.verdict for report in found] == ["positive", "inconclusive"]
    assert found[1].shows > found[0].shows
    assert found[1].enough > 250
    assert "99.58 %" in " ".join(found[1].notes)


@pytest.mark.parametrize(
    ("won", "lost", "count", "says"),
    [
        (20, 12, 200, "If the difference is real, about 760 would show it."),
        (20, 19, 200, "is likely smaller than the "),
        (20, 20, 200, ""),
        (6, 4, 29, ""),
    ],
)
def test_how_many_examples_would_tell_is_said_where_anybody_could_label_them(task, run, won, lost, count, says) -> None:
    """The number itself by its formula: (z(0.975) + z(0.8))² variances over the squared gain."""
    other = np.arange(count) < lost
    right = np.arange(count) >= count - won
    report = reported(task, run, right, other)
    assert report.verdict == "inconclusive"
    error = (report.gain[2] - report.gain[1]) / 3.92
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    exact = (z * error / report.gain[0]) ** 2 * count if won > lost and count >= 30 else 0
    assert report.enough == pytest.approx(exact, abs=1)
    assert report.slight == (exact > 10 * count)
    assert says in report.sentence
    assert ("would show it" in report.sentence, "likely smaller" in report.sentence) == (
        0 < exact <= 10 * count,
        exact > 10 * count,
    )


def test_what_look_alikes_may_have_shown_is_not_called_unseen(task, run) -> None:
    rng = np.random.default_rng(0)
    other = rng.random(400) < 0.5
    for pairs, says in (
        ((), "photos it has never seen;"),
        ((("a", "b"),) * 3, "held out from it (3 pairs of look-alikes"),
    ):
        audited = replace(task, audit=replace(task.audit, near_duplicates=pairs))
        for right, verdict in (
            (other | (rng.random(400) < 0.9), "positive"),
            (other & (rng.random(400) < 0.1), "negative"),
        ):
            report = reported(audited, run, right, other)
            assert report.verdict == verdict
            assert says.rstrip(";") in report.sentence
            assert ("seen" in report.sentence) == (not pairs)


def test_a_test_of_three_examples_is_said_to_show_nothing(task, run) -> None:
    report = reported(task, run, np.array([True, False, True]), np.array([False, True, True]))
    assert report.shows > 1
    assert "would show no gain, however large, over" in " ".join(report.notes)


def test_folds_that_would_be_empty_are_not_made(task) -> None:
    """Of four people one tests and three are left for four folds."""
    named = {part: replace(getattr(task, part), groups=(who,) * len(getattr(task, part))) for part, who in
             (("train", "a"), ("val", "b"))}  # fmt: skip
    halves = tuple("ac"[row % 2] for row in range(len(task.train)))
    few = replace(task, **named | {"train": replace(task.train, groups=halves)})
    part = distinct(task.test.part)
    assert folds(few, replace(part, groups=("d",) * len(part)), 0) == []


def test_a_source_that_has_seen_them_makes_no_folds(task, run, tiny_home) -> None:
    assert foldable(task, run, FAST)
    again = replace(run, plan=replace(run.plan, backbone=graft.find(f"checkpoint/{run.key}")))
    assert not foldable(task, again, FAST)
