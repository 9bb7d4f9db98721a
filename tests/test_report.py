"""The page that tells whether transfer helped: it stands alone, and points where an answer comes from."""

import base64
import html.parser
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import graft
from command import here
from conftest import at_home
from graft import asked as wanted
from graft import captions
from graft.advice import advice, answer
from graft.arguments import parse
from graft.charts import _chance as chance
from graft.charts import stages
from graft.clock import WHOLE
from graft.closeups import marked
from graft.core import figures
from graft.core.codec import from_json
from graft.core.examples import Suspect
from graft.core.exhibits import DROPPED, FILES, Candidate, Closeup, Exhibits, Region, Stage, Step, Told
from graft.core.keys import key
from graft.core.nouns import Calibration, Epoch, Report, Row, Slice
from graft.core.shelf import take
from graft.data import hiding, pictures, sound
from graft.data.shortcuts import warnings
from graft.data.shown import POINTS, signal
from graft.data.shown import sound as heard
from graft.data.traces import Trace, pack, unpack
from graft.examined import said, truth, wrong
from graft.modalities import text
from graft.model.gaze import gaze
from graft.model_card import card
from graft.occlusion import explained, looked
from graft.parts import _together
from graft.report import page
from graft.transfer import again
from photos import draw, encode

HOSTILE = '<img src=x onerror="alert(1)">'
OWED = ("ladder", "ranking", "stages", "training", "labels", "confusion", "calibration", "audit", "looks", "map",
        "harm", "cost", "lineage")  # fmt: skip


@pytest.fixture(scope="module")
def artifact(tiny_place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of photos in classes one of which has a hostile name."""
    place, rng = tmp_path_factory.mktemp("told"), np.random.default_rng(0)
    for name, kind in ((HOSTILE, "disc"), ("stripes", "stripes")):
        (place / "data" / name).mkdir(parents=True)
        for number in range(24):
            file = place / "data" / name / f"{number:02}<script>alert(2)<&.jpg"
            file.write_bytes(encode(draw(kind, (80, 64), rng)))
    (place / "data" / "stripes" / "<script>.jpg").write_bytes(b"no photo")
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, tiny_place)
        whole = graft.Budget(10, firm=False)
        graft.transfer(place / "data", backbones=["tiny/shapes"], strategy="lp_ft", budget=whole, out=place / "model")
    return place / "model"


class Tags(html.parser.HTMLParser):
    """Every element and its attributes, each closed in its turn."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_head_that_is_found_at_once_takes_no_section_of_its_own(artifact: Path) -> None:
    told = from_json(Told, (artifact / "report.json").read_text(encoding="utf-8"))
    shown = replace(told.exhibits, history=())
    text = page(told.report, shown)
    assert '<section id="training">' not in text
    stages = text[text.index('<section id="stages">') :].partition("</section>")[0]
    assert "Phase 1: " in stages


def test_the_page_stands_alone_and_nothing_in_the_data_runs(artifact: Path) -> None:
    text = (artifact / "report.html").read_text(encoding="utf-8")
    found = Tags(text).found
    assert {"html", "title", "main", "svg"} <= {tag for tag, _ in found}
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in found}
    for tag, attributes in found:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
        assert tag != "img" or attributes["alt"]
    assert "&lt;img src=x onerror=" in text
    assert not re.search(r"url\((?!#)", text)
    assert not re.search(r"@import|<metadata", text)
    assert "default-src 'none'" in text


def test_every_section_is_there_and_every_picture_says_what_it_shows(artifact: Path) -> None:
    text = (artifact / "report.html").read_text(encoding="utf-8")
    assert [name for name in OWED if f'<section id="{name}">' not in text] == []
    report = json.loads((artifact / "report.json").read_text(encoding="utf-8"))["report"]
    assert report["sentence"].split(",")[0].replace(" %", "\N{NO-BREAK SPACE}%") in text
    assert not re.search(r"[0-9] %", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))  # no line ends there
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert re.search(r"<title[^>]*>[^<]+</title>", picture)
        if 'role="img" aria-labelledby' in picture:
            assert re.search(r"<desc[^>]*>[^<]+</desc>", picture)
            assert "<text" in picture  # text is text
            assert "var(--ink)" in picture
            assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]", picture)  # every stand-in colour is replaced
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(ids)


def test_it_is_drawn_again_from_its_json_alone(artifact: Path, tmp_path: Path, capsys) -> None:
    shutil.copyfile(artifact / "report.json", tmp_path / "report.json")
    assert here("report", tmp_path) == 0
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (artifact / name).read_bytes(), name
    assert str(tmp_path / "report.html") in capsys.readouterr().out
    (tmp_path / "report.json").write_text('{"schema": 99}')
    assert here("report", tmp_path) == 2
    assert here("report", tmp_path / "nothing") == 2
    assert "holds no report.json" in capsys.readouterr().err


def test_the_command_does_the_same_again_as_it_is_printed(photos: Path, tiny_home: Path, tmp_path: Path) -> None:
    """Everything that was asked for is in it: the same home finds each result, and the same folder its artifact.

    Nothing is drawn anew, and nothing is loaded that draws, fits or builds a network.
    """

    def standing() -> dict[str, tuple[bytes, int]]:
        return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in (tmp_path / "model").iterdir()}

    terms = ["--backbone", "tiny/shapes", "--strategy", "linear_probe", "--budget", "9.5s", "--quiet"]
    assert here("transfer", photos, *terms, "--out", tmp_path / "model") == 0
    before = standing()
    command = shlex.split(json.loads(before["report.json"][0])["exhibits"]["lineage"]["command"])[1:]
    code = "import sys; from graft.cli import main; status = main(sys.argv[1:]); print(status, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    assert before == {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in (tmp_path / "model").iterdir()
    }
    status, *loaded = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert not {"matplotlib", "sklearn", "scipy.special", "onnxruntime", "torch._dynamo", "torchvision"} & {*loaded}


def test_a_whole_number_of_seconds_is_the_same_budget() -> None:
    assert key(graft.Budget(30)) == key(graft.Budget(30.0))


@pytest.mark.parametrize(("right", "count"), [(0, 7), (7, 7), (3, 50), (41, 50)])
def test_where_a_share_would_lie_is_as_scipy_has_it(right: int, count: int) -> None:
    from scipy.stats import binomtest

    np.testing.assert_allclose(chance(right / count, count), binomtest(right, count).proportion_ci(method="wilson"))


def test_no_option_is_missing_from_the_command() -> None:
    asked = ("--backbone", "tiny/shapes", "tiny/random", "--strategy", "full", "--regularize", "l2_sp,ema", "--budget",
             "90s", "--max-params", "25M", "--max-latency", "0.02s", "--license", "MIT", "--license", "Apache-2.0",
             "--no-examples", "--seed", "3", "--out", "a b", "--modality", "text", "--label", "kind", "--group", "who",
             "--read", "columns=title,body")  # fmt: skip
    given = parse(["transfer", "my data", *asked])
    said = again(given.data, given.out, wanted.ids(given), given.strategy, given.regularize, wanted.budget(given),
                 given.seed, not given.no_examples, wanted.asked(given))  # fmt: skip
    once = vars(parse(shlex.split(said)[1:]))
    assert {**once, "words": 0, "backbone": wanted.ids(given)} == {
        **vars(given),
        "words": 0,
        "backbone": wanted.ids(given),
    }
    assert wanted.ids(parse(shlex.split(said)[1:])) == ["tiny/shapes", "tiny/random"]


def test_nothing_says_where_the_data_lie(artifact: Path) -> None:
    for name in ("report.html", "report.json"):
        told = (artifact / name).read_text(encoding="utf-8")
        told = told.replace(json.loads((artifact / "report.json").read_text())["exhibits"]["lineage"]["command"], "")
        assert str(artifact.parent / "data") not in re.sub(r"<code>.*?</code>", "", told)


def test_the_counts_are_those_of_the_answers(artifact: Path) -> None:
    told = from_json(Told, (artifact / "report.json").read_text(encoding="utf-8"))
    report, shown = told.report, told.exhibits
    asked = report.n_test
    assert sum(count for _, _, count in report.confusion) == asked
    right = sum(count for truth, said, count in report.confusion if truth == said)
    row = next(row for row in report.rows if row.name == report.ships)
    assert right / asked == pytest.approx(row.score, abs=0.1)  # of one repetition of the folds
    assert len(shown.mistakes) == min(8, shown.wrong)
    sure, good, share = np.array(shown.after).T
    assert np.abs(sure - good) @ share == pytest.approx(report.calibration.seen, abs=1e-3)  # picture and text: the same
    assert {epoch.phase for epoch in shown.history} <= set(range(len(shown.steps)))
    assert len(shown.dots) == shown.parts["test"] + shown.parts["val"]
    assert all(one.photo.startswith("data:image/jpeg;base64,") and one.grid for one in shown.looks)
    assert {one.truth for one in shown.looks} == set(shown.outputs)
    assert all(one.truth == one.answer for one in shown.looks)
    assert shown.lineage["backbone"] == "tiny/shapes"
    assert shown.lineage["command"].startswith("graft transfer")


def test_the_shipped_artifact_says_what_the_report_shows(artifact: Path) -> None:
    shown = from_json(Told, (artifact / "report.json").read_text(encoding="utf-8")).exhibits
    predictor = graft.open(artifact)
    one = shown.looks[0]
    files = (artifact.parent / "data" / one.truth).glob(one.name.replace("[", "[[]"))
    told = predictor.predict([str(file) for file in files])[0]
    assert told["label"] == one.answer
    assert told["probability"] == pytest.approx(one.probability, abs=1e-3)
    found = looked(predictor, (artifact.parent / "data" / one.truth / one.name).read_bytes())
    assert (found["kind"], found["label"]) == ("grid", one.answer)
    rows, columns = found["regions"][0]["rows"], found["regions"][0]["columns"]
    assert [(r["row"], r["column"]) for r in found["regions"]] == [(r, c) for r in range(rows) for c in range(columns)]


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no browser")
def test_a_browser_shows_it_on_a_phone_without_a_word_of_complaint(artifact: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            tab = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
            said: list[str] = []
            tab.on("console", lambda message: said.append(message.text))
            tab.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
            tab.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
            tab.goto((artifact / "report.html").as_uri())
            assert not said
            assert tab.evaluate("document.documentElement.scrollWidth") == 390
            assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
            assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        finally:
            browser.close()


# ── any verdict, head and example ─────────────────────────────────────────────────────────────────────────────────────


def told(verdict: str = "positive", ships: str = "adapted", pretrained: bool = True, **more) -> tuple[Report, Exhibits]:
    each = (("adapted", 0.8, 0.0), ("pixels", 0.7, 0.1), ("scratch", 0.6, 0.2), ("trivial", 0.5, 0.3))
    rows = tuple(
        Row(name, score, score - 0.1, score + 0.1, score, (gain, gain - 0.1, gain + 0.1), transfers=not gain)
        for name, score, gain in each
    )
    report = Report(
        "t", "r", more.pop("metric", "accuracy"), verdict, "A sentence.", "pixels", (0.1, 0.0, 0.2), rows, ships, (0,),
        1, ("once",), 50,
    )  # fmt: skip
    word, parts = ("photo", "photos"), more.pop("parts", {"train": 9})
    shown = Exhibits(
        "pets", "image", "classification", word, ("cat", "dog"), parts, "tiny/shapes", pretrained, "lp_ft", **more
    )
    return report, shown


def test_the_advice_is_the_cheapest_first() -> None:
    report, shown = told("inconclusive", parts={"train": 9, "val": 3, "test": 6})
    more = replace(report, enough=500)
    assert "about 500 would tell" in "".join(advice(more, shown))
    assert "every one of your 18 photos is asked" in "".join(advice(replace(more, left_out=(WHOLE,)), shown))
    assert "label more" not in "".join(advice(replace(more, left_out=(WHOLE,)), shown))
    assert figures.about(206) == "210"
    slight = "".join(advice(replace(report, enough=501), shown))
    assert "Do not label more photos to settle it: that would take over 10 times as many as were asked." in slight
    assert "would tell" not in slight
    assert not {"label", "would"} & set(" ".join(advice(more, replace(shown, pretrained=False))).split())


def test_what_is_no_better_than_one_answer_for_all_is_not_to_be_relied_on() -> None:
    report, shown = told("inconclusive", "pixels", untried=("a/one", "a/two", "a/three", "a/four"))
    weak = "What ships is “linear model on pixels”, which is not shown to be better than “always the same”: do not"
    rows = tuple(replace(row, low=0.45) if row.name == "pixels" else row for row in report.rows)
    said = advice(replace(report, rows=rows), shown)
    assert said[0].startswith(weak)
    assert (
        said[1]
        == "Not tried, for want of time: a/one, a/two, a/three and 1 more. Give it more, or name one (--backbone)."
    )
    assert "likelier the better one here: use that" in advice(report, shown)[0]
    own = replace(report, ships="adapted")
    assert "do not count on a gain" in advice(own, shown)[0]
    low = tuple(replace(row, gain=(0.1, -0.1, 0.3)) if row.name == "trivial" else row for row in own.rows)
    assert "not shown to be better" in advice(replace(own, rows=low), shown)[0]


def test_a_shortcut_and_people_on_two_sides_stand_in_the_advice() -> None:
    (found,) = warnings({"device": ["a"] * 30 + ["b"] * 30}, [0] * 30 + [1] * 30, ["cat", "dog"])
    report, shown = told(audit=("3 of 9 are grey.", found, shared := _together(["Ann", "Bo"], {"Bo"})))
    said = advice(report, shown)
    assert said[1] == shared
    assert said[2].startswith("The recording device alone tells the class in these data")
    assert len(said) == 3


def test_what_is_faultless_without_transfer_leaves_nothing_to_gain() -> None:
    report, shown = told("inconclusive")
    rows = tuple(replace(row, score=1.0) for row in report.rows)
    flawless = replace(report, rows=rows, n_test=60)
    assert answer(flawless, shown).startswith("There is nothing to gain: without transfer “linear")
    assert answer(replace(flawless, n_test=4), shown).startswith("It cannot be told from 4 photos")  # luck may do that


def test_sets_that_missed_their_promise_are_not_to_be_relied_on() -> None:
    report, shown = told()
    held = Calibration("adapted", 60, 0.9, thresholds=(0.5,), coverage=(0.8, 0.7, 0.87), after=(0.0, 0.0, 0.1))
    warned = "were to hold the truth on 90 % of test photos, and held it on 80 %"
    assert warned in "".join(advice(replace(report, calibration=held), shown))
    kept = replace(held, coverage=(0.88, 0.8, 0.93))
    assert warned not in "".join(advice(replace(report, calibration=kept), shown))


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.005, 0.47, "surely off"), (0.0, 0.47, "cannot show"), (0.005, 0.05, ""), (0.0, 0.05, "")],
)
def test_what_is_said_of_percentages_agrees_with_their_interval(low: float, high: float, says: str) -> None:
    report, shown = told()
    worth = Calibration("adapted", 30, 0.9, temperature=2.0, before=(0.03, low, high), after=(0.03, low, high))
    caption = captions.calibrated(replace(report, calibration=worth), shown)
    assert [word for word in ("surely off", "cannot show") if word in caption] == [says] * bool(says)


def test_candidates_that_were_given_up_are_not_compared_with_the_others() -> None:
    kept, dropped = (
        Candidate(name, 0.7, 0.01, "MIT", note) for name, note in (("a", ""), ("b", f"{DROPPED} 9 examples"))
    )
    report, shown = told(ranking=(kept, dropped))
    made = page(report, shown)
    assert "In grey: given up after fewer examples" in made
    assert f"b ({DROPPED} 9 examples)" in made


@pytest.mark.parametrize(
    ("verdict", "ships", "pretrained", "says"),
    [
        ("positive", "adapted", True, "Yes: transfer helped. Use this model: 80.0 % accuracy on 50 photos."),
        ("inconclusive", "adapted", True, "It cannot be told from 50 photos"),
        ("negative", "pixels", True, "No: transfer hurt."),
        ("negative", "pixels", False, "Nothing was transferred"),
        ("inconclusive", "scratch", False, "Nothing was transferred"),
    ],
)
def test_the_first_line_is_the_answer(verdict: str, ships: str, pretrained: bool, says: str) -> None:
    report, shown = told(verdict, ships, pretrained)
    assert answer(report, shown).startswith(says)
    made = page(report, shown).replace("\N{NO-BREAK SPACE}", " ")
    Tags(made)
    assert made.index(says) < made.index("A sentence.") < made.index("What was compared")
    hurt = "Use “linear model on pixels”, with 70.0 % accuracy instead of 80.0 %."
    assert (hurt in made) == (verdict == "negative" and pretrained)
    lines = card(report, replace(shown, folder="my/model", example="new.jpg")).splitlines()
    assert any(line.startswith("base_model:") for line in lines) == (ships == "adapted" and pretrained)
    assert "    print(graft.open('my/model').predict(['new.jpg']))" in lines
    assert "graft.open" not in card(report, shown)  # a report alone holds no model
    assert ("the better one here: use that." in made) == (ships != "adapted")
    missing = ("ranking", "stages", "confusion", "calibration", "mistakes", "looks", "map", "groups", "scatter", "harm")
    assert [name for name in missing if f'id="{name}"' in made] == []  # nothing to say: left out


def test_what_was_tried_and_not_kept_is_no_part_of_what_ships() -> None:
    """Of two ways the head alone was kept: the boundary lies before it, and the other's losses are not drawn."""
    steps = (Step("head", 2, 2), Step("head, stages[1:]", 1, 2, 0.001), Step("head", 2, 2, way=2))
    epochs = tuple(Epoch(1, at, 1, 0.5, 0.5, 0.5, 0.5, 0.001, 1.0) for at in range(5))
    curve = (Stage("early", 0.6, 0.1), Stage("late", 0.7, 0.1))
    for kept in (0, 1):
        ways = tuple(replace(step, kept=(step.way == 1 + kept)) for step in steps)
        report, shown = told(steps=ways, history=epochs, stages=curve)
        made = page(report, shown)
        assert ("What ships is the pretrained network as it came, with a new last layer: use that." in made) == kept
        assert ("Adapted: the pretrained network as it came" in made) == kept
        assert ('<section id="training">' in made) == (not kept)
        assert made.count("tried and not kept") == (2 if kept else 1)
        (line,) = [line for line in stages(report, shown).axes[0].lines if len(line.get_xdata()) == 2 and
                   line.get_linewidth() == 2 and line.get_xdata()[0] == line.get_xdata()[1]]  # fmt: skip
        assert line.get_xdata()[0] == (1.5 if kept else 0.5)


def test_who_leads_is_told_without_signs() -> None:
    assert figures.lead((0.102, -0.1, 0.318), "accuracy", "it") == (
        "10.2 points ahead of it (95 % interval 10.0 behind to 31.8 ahead)"
    )
    assert figures.lead((-0.258, -0.387, -0.117), "accuracy", "it") == (
        "25.8 points behind it (95 % interval 11.7 to 38.7)"
    )
    assert figures.lead((1.5, 0.5, 2.5), "mae") == "1.5 ahead (95 % interval 0.5 to 2.5)"


def test_one_candidate_is_told_in_words_and_two_are_drawn() -> None:
    first, second = (Candidate(name, 0.7, 0.05, "MIT") for name in ("tiny/shapes", "tiny/random"))
    one, two = (page(*told(ranking=found)) for found in ((first,), (first, second)))
    said = "tiny/shapes alone was tried. A linear layer on top of it reaches 70.0\N{NO-BREAK SPACE}% ± 5.0 (accuracy)"
    assert said in one
    assert 'id="ranking-title"' not in one
    assert 'id="ranking-title"' in two


def test_labels_that_are_doubted_are_not_called_wrong() -> None:
    report, shown = told(suspects=(Closeup("a.jpg", "", "cat", "dog", 0.9),) * 4)
    report = replace(report, suspects=(Suspect("a.jpg", "cat", "dog", 0.9, 0.75),) * 4)
    made = page(report, shown)
    assert made.count("4 labels are worth a second look, since examples like theirs are labelled otherwise") == 2
    assert "of them are wrong" not in made


@pytest.mark.parametrize("metric", ["r2", "mae", "micro_f1", "silhouette"])
def test_any_score_and_any_kind_of_example_has_its_page(metric: str) -> None:
    ends = tuple(Closeup(f"{kind}{HOSTILE}", kind, HOSTILE, HOSTILE, 0.5, text=f"a {HOSTILE} b", looked="hiding",
                         channels=(HOSTILE,), traces=((0.0, 1.0, 0.5),) * (kind in ("signal", "sound")), seconds=2.0,
                         sound="data:audio/mpeg;base64,AA", cells=((HOSTILE, HOSTILE),),
                         photo="data:image/jpeg;base64,", regions=(Region(0.5, 0.0, 1.0, HOSTILE),))
                 for kind in ("photo", "text", "sound", "signal", "row", ""))  # fmt: skip
    report, shown = told(metric=metric, mistakes=ends, looks=ends, suspects=ends, pairs=((1.0, 2.0), (2.0, 2.5)),
                         groups=((HOSTILE, 3, HOSTILE),), skipped=((HOSTILE, HOSTILE),), left_out=1,
                         audit=(HOSTILE,), why=(HOSTILE,), lineage={HOSTILE: HOSTILE, "command": HOSTILE})  # fmt: skip
    report = replace(
        report,
        sentence=HOSTILE,
        notes=(HOSTILE,),
        slices=tuple(Slice(f"{HOSTILE}{at}", 5, 0.5, 0.4, metric, (0.1, -0.1, 0.2)) for at in range(2)),
    )
    shown = replace(shown, name=HOSTILE, outputs=(HOSTILE, "dog"), backbone=HOSTILE)
    made = page(report, shown)
    assert "<img src=x" not in made
    assert {tag for tag, _ in Tags(made).found} & {"script", "iframe"} == set()
    assert all(piece in made for piece in ("<audio", "<polyline", "<mark", "<blockquote", "<table"))
    lines = card(report, shown).splitlines()
    assert lines[0] == "---"
    text = "\n".join(lines[lines.index("---", 1) :])
    assert not re.search(r"(?<!\\)<img", text)


def test_marked_words_stand_where_they_stood() -> None:
    said = marked("red & green", (Region(0.5, 0, 3), Region(-0.5, 6, 11)))
    assert said == (
        '<mark class="for" style="--w:1.00">red</mark> &amp; <mark class="against" style="--w:1.00">green</mark>'
    )
    long = "word " * 500 + "needle " + "word " * 500
    assert "needle</mark>" in marked(long, (Region(1.0, 2500, 2506),))
    assert len(marked(long, ())) < 500


def test_what_is_shown_is_small_and_keeps_peaks() -> None:
    x = np.zeros((2, 50_000))
    x[1, 31_234] = 7.0
    drawn = signal(x, ("a", "b"), 100.0)
    assert max(drawn["traces"][1]) == 7.0
    assert len(drawn["traces"][0]) == POINTS
    assert drawn["seconds"] == 500.0
    clip = heard(np.sin(np.arange(160_000) / 5), 16_000)
    played = sound.decode(base64.b64decode(clip["sound"].partition(",")[2]), 16_000)
    assert played.seconds == pytest.approx(5, abs=0.2)
    assert len(clip["sound"]) < 120_000


def test_what_is_wrong_is_told_for_every_head() -> None:
    sure_of = np.exp(3) / (1 + np.exp(3))
    logits, y = np.array([[2.0, 0], [0, 3], [0, 1]]), np.array([0, 0, 1])
    np.testing.assert_allclose(wrong(take("heads", "classification"), logits, y), [0, sure_of, 0])
    np.testing.assert_allclose(wrong(take("heads", "multilabel"), np.array([[2.0, -1], [-4, 1]]), np.eye(2)), [0, 0])
    np.testing.assert_allclose(wrong(take("heads", "multilabel"), np.array([[2.0, 1.5]]), np.array([[1, 0]])), [1.5])
    far = wrong(take("heads", "regression"), np.array([[1.0], [5.0]]), np.array([[1.0], [3.0]]))
    np.testing.assert_allclose(far, [0, 2])  # in the spread of the truth, which is 1
    tags = np.array([[0, 0], [-1, 0], [1, 0], [1, 1], [0, 1]])
    said_of = np.eye(2)[[0, 0, 1, 0, 1]]
    np.testing.assert_allclose(wrong(take("heads", "tagging"), said_of, tags), [0, 2])
    assert not wrong(take("heads", "grouping"), logits, y).any()
    names = ("O", "B-X")
    assert truth(take("heads", "tagging"), (0, 1, 0), names) == "B-X"
    assert said({"tags": [{"word": "so", "tag": "O"}, {"word": "Anna", "tag": "B-X"}]}) == "Anna B-X"
    assert truth(take("heads", "multilabel"), (), names) == said({"labels": [], "scores": {}}) == "none"
    assert truth(take("heads", "regression"), (1.5, 2.0), names) == said({"values": {"a": 1.5, "b": 2.0}}) == "1.5, 2"


# ── where the answer comes from ───────────────────────────────────────────────────────────────────────────────────────


def strongest(found: dict) -> dict:
    return max(found["regions"], key=lambda region: region["weight"])


def sure(p: float) -> dict:
    return {"label": "yes", "probabilities": {"yes": p, "no": 1 - p}}


@pytest.mark.parametrize("place", [(0, 0), (3, 5), (6, 1)])
def test_hiding_finds_the_square_that_matters(place: tuple[int, int]) -> None:
    """The rule is planted: the answer is yes as far as there is red."""
    x = np.full((140, 140, 3), 90, np.uint8)
    row, column = place
    x[20 * row + 3 : 20 * row + 17, 20 * column + 3 : 20 * column + 17] = (250, 10, 10)

    def ask(raws):
        seen = [np.asarray(pictures.decode(raw)) for raw in raws]
        return [sure(float(((s[..., 0] > 200) & (s[..., 1] < 60)).sum() / 196)) for s in seen]

    found = explained(hiding.squares(encode(Image.fromarray(x), "PNG")), ask)
    best = strongest(found)
    assert (found["kind"], found["label"]) == ("grid", "yes")
    assert (best["row"], best["column"], best["rows"], best["columns"]) == (row, column, 7, 7)
    assert best["weight"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("long", [8, 700])
def test_hiding_finds_the_word_that_matters(long: int) -> None:
    words = [f"w{number}" for number in range(long)]
    words[long // 3] = "unicorn"
    raw = " ".join(words)
    asked = []

    def ask(raws):
        asked.extend(raws)
        return [sure(0.9 if b"unicorn" in one else 0.2) for one in raws]

    found = explained(hiding.words(raw.encode(), text.Reading()), ask)
    best = strongest(found)
    assert (best["text"], best["weight"]) == ("unicorn", pytest.approx(0.7))
    assert raw[best["start"] : best["end"]] == "unicorn"
    assert all(raw[r["start"] : r["end"]] == r["text"] for r in found["regions"])
    assert len(asked) <= 1 + 64 + 3 * 4 * 16


def test_hiding_knows_columns_of_texts_and_words_that_are_tagged() -> None:
    raw = json.dumps({"title": "a b", "body": "c unicorn"}).encode()
    pieces = hiding.words(raw, text.Reading(columns=("title", "body")))
    found = explained(pieces, lambda raws: [sure(0.8 if "unicorn" in one["body"] else 0.1) for one in raws])
    assert strongest(found)["text"] == "unicorn"
    assert found["text"] == "a b\nc unicorn"

    def tags(raws):
        each = [["B-X" if word == "Anna" else "O" for word in one["text"]] for one in raws]
        return [{"tags": [{"word": "", "tag": tag} for tag in one], "entities": [{"type": "X"}]} for one in each]

    tagged = hiding.words(json.dumps({"text": ["so", "Anna", "said"]}).encode(), text.Reading(columns=("text",)))
    found = explained(tagged, tags)
    assert (found["label"], strongest(found)["text"]) == ("X", "Anna")


def test_hiding_finds_the_stretch_that_matters() -> None:
    x = 0.01 * np.sin(np.arange(16_000) / 3).astype(np.float32)
    x[9_600:10_400] = 0.8
    loud = [sound.encoded(x, 16_000)]
    found = explained(
        hiding.heard(loud[0]), lambda raws: [sure(float((sound.decode(one).samples > 0.5).mean() * 20)) for one in raws]
    )
    best = strongest(found)
    assert (best["start"], best["end"]) == (0.6, 0.65)
    trace = Trace(np.random.default_rng(0).normal(0, 0.1, (3, 400)), ("a", "b", "c"), 100.0, ("mV",) * 3)
    trace.x[1, 105:115] += 5
    reading = SimpleNamespace(channels=(), layout="", rate=0.0)
    found = explained(
        hiding.traced(pack(trace), reading), lambda raws: [sure(float((unpack(one).x > 2).sum() / 10)) for one in raws]
    )
    assert (strongest(found)["start"], strongest(found)["end"]) == (1.0, 1.2)


def test_hiding_finds_the_column_that_matters() -> None:
    row = {f"c{number}": float(number) for number in range(3000)}

    def ask(raws):
        return [{"value": 0.5 * (one["c1234"] or 0.0) + 7} for one in raws]

    found = explained(hiding.cells(json.dumps(row).encode()), ask)
    assert (strongest(found)["name"], strongest(found)["weight"]) == ("c1234", pytest.approx(617.0))


def test_gradients_point_at_what_the_class_is_told_by() -> None:
    """A network whose first class is told by red alone, by construction."""
    conv = nn.Conv2d(3, 2, 8, 8, bias=False)
    conv.weight.data.zero_()
    conv.weight.data[0, 0], conv.weight.data[1, 2] = 1 / 64, 1 / 64
    layers = OrderedDict(body=conv, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=nn.Linear(2, 2, bias=False))
    network = nn.Sequential(layers)
    network.head.weight.data = torch.eye(2)
    network.requires_grad_(False)
    x = torch.zeros(1, 3, 32, 32)
    x[:, 0, 8:16, 16:24], x[:, 2, 24:, :8] = 1.0, 1.0
    chain = SimpleNamespace(network=network, stages=[SimpleNamespace(name="body")])
    (red,), (blue,) = gaze(chain, x, [0]), gaze(chain, x, [1])
    assert np.unravel_index(red.argmax(), red.shape) == (1, 2)
    assert np.unravel_index(blue.argmax(), blue.shape) == (3, 0)
    assert not any(parameter.requires_grad for parameter in network.parameters())


class Mixing(nn.Module):
    """A transformer's last block in small: the class token takes the patches' weighted sum, and is all that is read."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        patches = tokens[:, 1:]
        return torch.cat([tokens[:, :1] + (patches**2).sum(1, keepdim=True), patches], 1)


def test_gradients_of_a_class_token_are_asked_a_stage_earlier() -> None:
    class Patches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = nn.functional.avg_pool2d(x, 8).flatten(2).transpose(1, 2)
            return torch.cat([torch.zeros_like(seen[:, :1]), seen], 1) * one

    class First(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return tokens[:, 0]

    one = nn.Parameter(torch.ones(1))
    network = nn.Sequential(
        OrderedDict(patch=Patches(), block=Mixing(), first=First(), head=nn.Linear(3, 1, bias=False))
    )
    network.register_parameter("one", one)
    network.head.weight.data.fill_(1.0)
    x = torch.zeros(1, 3, 32, 32)
    x[:, :, 16:24, 24:] = 1.0
    chain = SimpleNamespace(network=network, stages=[SimpleNamespace(name="patch"), SimpleNamespace(name="block")])
    (seen,) = gaze(chain, x, [0])
    assert np.unravel_index(seen.argmax(), seen.shape) == (2, 3)
