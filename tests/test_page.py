"""The page of a server, in a real browser: asked by mouse, keyboard and ear, for every kind of example it shows."""

import csv
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import browser
import graft
from conftest import at_home
from graft.core import home
from graft.core.nouns import Budget
from graft.data import toys
from graft.merge import merge
from graft.rivals import fitted
from photos import draw, encode
from served import fitted as classical
from served import wave
from shipping import probed, report

FAST, TOKEN = Budget(seconds=20, firm=False), "a-token-of-a-test-0123456789"
SENTENCE = "The bread was not good at all."
KINDS = ("image", "text", "audio", "vector", "several", "red", "tags", "waves", "both")
HERTZ = {"slow": 6, "fast": 30}


@pytest.fixture(scope="module")
def models(tiny_place, photos, tmp_path_factory):
    """A model for each kind of example, of photos a network, of others a baseline: their folders by kind."""
    place = tmp_path_factory.mktemp("shown")
    sentences, told = toys.sentences(120, seed=1)
    topics = toys.FACTS["sentences"]["topic"]
    table(place / "texts.csv", ["text"], [[text] for text in sentences], [topics[k] for k in told["topic"]])
    cells, told = toys.cells(90, seed=1)
    kinds = toys.FACTS["cells"][fact := next(iter(toys.FACTS["cells"]))]
    rows = cells[:, :12].round(4).tolist()
    table(place / "cells.csv", [f"g{n}" for n in range(12)], rows, [kinds[k] for k in told[fact]])
    sounds(place / "sounds", 48)
    files = sorted(photos.rglob("*.jpg"))
    seen = {"disc": "round", "square": "flat|cornered", "stripes": "flat"}
    table(place / "several.csv", ["path"], [[file] for file in files], [seen[file.parent.name] for file in files])
    reds = [f"{np.asarray(Image.open(file))[..., 0].mean():.1f}" for file in files]
    table(place / "red.csv", ["path"], [[file] for file in files], reds)
    names = [
        {"tokens": text.split(), "tags": ["B-X" if len(word) > 4 else "O" for word in text.split()]}
        for text in sentences
    ]
    (place / "names.jsonl").write_text("\n".join(map(json.dumps, names)))
    waves = {label: [wave(hertz, np.random.default_rng(n)) for n in range(8)] for label, hertz in HERTZ.items()}
    np.savez(place / "waves.npz", X=[one["x"] for one in waves["fast"]], channels=["C3", "C4"], rate=128.0)
    classical(place / "waves", "signal", "bandpower", waves, {"channels": ["C3", "C4"], "rate": 128.0})
    with pytest.MonkeyPatch.context() as patch:
        at_home(patch, tiny_place)
        task = graft.load(photos)
        run = graft.adapt(task, graft.plan(task, graft.rank(task, ["tiny/shapes"], FAST)[0], "linear_probe", FAST))
        graft.export(task, run, report(task, run), place / "image")
        probed(place / "several.csv", "tiny/shapes", place / "several", head="multilabel")
        probed(place / "red.csv", "tiny/shapes", place / "red", head="regression")
        probed(place / "names.jsonl", "tiny/phrases", place / "tags")
        merge([place / "image", place / "several"], place / "both")
        others = {"text": ("texts.csv", "tfidf"), "audio": ("sounds", "logmel"), "vector": ("cells.csv", "columns")}
        for kind, (data, name) in others.items():
            task = graft.load(place / data)
            state = {at: np.ascontiguousarray(array) for at, array in fitted(name, task).items()}
            save_file(state, home.folder("runs", f"shown-{name}") / "weights.safetensors")
            mine = replace(run, task=task.key)
            graft.export(task, mine, report(task, mine, name, f"shown-{name}"), place / kind)
        yield place


def table(file: Path, columns: list[str], rows: list[list], labels: list[str]) -> None:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([(*columns, "label"), *((*row, y) for row, y in zip(rows, labels, strict=True))])


def sounds(place: Path, count: int) -> None:
    import soundfile

    made, told = toys.sounds(count, seed=1)
    for number, (sound, kind) in enumerate(zip(made, told["pitch"], strict=True)):
        file = place / toys.FACTS["sounds"]["pitch"][kind] / f"{number:02}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, sound, toys.RATE)


def served(*arguments: object) -> tuple[subprocess.Popen[str], str]:
    """`graft serve` on a free port, and its address."""
    command = [sys.executable, "-m", "graft.cli", "serve", *map(str, arguments), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in server.stderr:
        if found := re.search(r"http://\S+", line):
            return server, found[0]
    raise AssertionError("no server")


@pytest.fixture(scope="module")
def server(models):
    """The address of a server of them all."""
    process, url = served(*(models / kind for kind in KINDS))
    yield url
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture(scope="module")
def chromium():
    with browser.opened() as one:
        yield one


def ask(page, url: str, kind: str) -> None:
    page.goto(f"{url}/#model={kind}")
    page.reload()
    page.locator("#ask > div").wait_for()


def test_a_photo_is_answered_and_where_the_model_looked_is_shown(chromium, server, models, tmp_path):
    photo = tmp_path / "disc.jpg"
    photo.write_bytes(encode(draw("disc", (160, 120), np.random.default_rng(5))))
    answer = graft.open(models / "image").predict(photo)[0]
    with browser.page(chromium) as page:
        ask(page, server, "image")
        page.set_input_files("input[type=file]", photo)
        page.locator(".inwords").wait_for()
        assert page.locator(".said strong").inner_text() == answer["label"]
        shown = page.locator(".bars .value").first.inner_text()
        assert shown == f"{round(100 * answer['probability'])} %" or "99" in shown
        assert ("unsure" in page.locator(".words").inner_text()) == answer["unsure"]
        assert page.locator("canvas.shade").evaluate("one => [one.width, one.height]") == [7, 5]
        read = "one => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]"
        alphas = page.locator("canvas.shade").evaluate(read)[3::4]
        assert min(alphas) == 0 < max(alphas)  # the strongest square stays bright, others lie in shade
        near = graft.open(models / "image").nearest(photo)
        assert page.locator(".cards .file").all_inner_texts() == [one["name"] for one in near]
        assert page.locator(".cards img").evaluate_all("all => all.every((one) => one.naturalWidth > 0)")
        assert answer["label"] in page.locator("#live").inner_text()  # said to who listens
        assert "What mattered most" in page.locator("#live").inner_text()
        assert page.locator("#report-frame").is_visible() == (models / "image/report.html").is_file()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in (1200, 360):
                page.set_viewport_size({"width": width, "height": 800})
                assert not browser.faults(page), (scheme, width)


def test_a_text_is_asked_about_with_the_keyboard_alone(chromium, server, models):
    answer = graft.open(models / "text").predict([SENTENCE])[0]
    with browser.page(chromium) as page:
        ask(page, server, "text")
        browser.reach(page, "textbox", "Text")
        page.keyboard.type(SENTENCE)
        browser.reach(page, "button", "Ask")
        page.keyboard.press("Enter")
        page.locator(".inwords").wait_for()
        assert page.locator(".said strong").inner_text() == answer["label"]
        marks = page.locator(".marked mark")
        assert marks.count()
        assert all(word in SENTENCE for word in marks.all_inner_texts())
        assert page.locator(".marked").inner_text() == SENTENCE
        assert not browser.faults(page)


def test_a_sound_is_drawn_and_can_be_played(chromium, server, models):
    with browser.page(chromium) as page:
        ask(page, server, "audio")
        page.set_input_files("input[type=file]", next((models / "sounds").rglob("*.wav")))
        page.locator(".inwords").wait_for()
        assert page.locator("svg.wave path").count() == 1
        assert page.locator("svg.wave rect").count()
        page.wait_for_function("document.querySelector('audio').duration > 0.9")
        assert not browser.faults(page)


def test_a_row_of_a_table_fills_the_fields(chromium, server, models):
    with browser.page(chromium) as page:
        ask(page, server, "vector")
        page.set_input_files("input[type=file]", models / "cells.csv")
        page.get_by_label("Row of the table").select_option("1")
        head, _, second = (models / "cells.csv").read_text().splitlines()[:3]
        assert page.get_by_label("g3", exact=True).input_value() == second.split(",")[3]
        page.get_by_role("button", name="Ask").click()
        page.locator(".inwords").wait_for()
        row = dict(zip(head.split(","), map(float, second.split(",")[:-1]), strict=False))
        assert page.locator(".said strong").inner_text() == graft.open(models / "vector").predict([row])[0]["label"]
        assert not browser.faults(page)
        assert not page.locator(".doubt").get_by_text("training rows").count()
        page.get_by_label("g2", exact=True).fill("9e9")
        page.get_by_label("g3", exact=True).fill("abc")
        page.get_by_role("button", name="Ask").click()
        odd = graft.open(models / "vector").predict([row | {"g2": 9e9, "g3": "abc"}])[0]["odd"]
        assert "g3: 'abc' is no number, taken as missing" in odd
        page.locator(".doubt.lines").wait_for()
        assert page.locator(".doubt.lines").inner_text().splitlines() == [f"{one}." for one in odd]
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert not browser.faults(page)


def test_every_kind_of_answer_has_its_face(chromium, server, models, photos, tmp_path):
    photo, known = next(photos.rglob("*.jpg")), {kind: graft.open(models / kind) for kind in KINDS[4:]}
    with browser.page(chromium) as page:

        def shown(kind: str, file: Path | None = None) -> str:
            """What is said in large letters of an example."""
            ask(page, server, kind)
            if file:
                page.set_input_files("input[type=file]", file)
            else:
                page.locator("textarea").fill(SENTENCE)
                page.get_by_role("button", name="Ask").click()
            page.locator(".inwords, .picture .calm").first.wait_for()
            assert not page.locator("main .notice").count()
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert not browser.faults(page), (kind, scheme)
            return " ".join(page.locator(".said strong").all_inner_texts())

        several = known["several"].predict(photo)[0]
        assert set(re.split(", | and ", shown("several", photo))) == set(several["labels"] or ["None of the labels"])
        assert page.locator(".bars li").count() == 3
        value = known["red"].predict(photo)[0]["value"]
        assert shown("red", photo) == f"label {float(f'{value:.4g}'):g}"
        assert "Most likely between" in page.locator(".words").inner_text()
        tags = known["tags"].predict([SENTENCE])[0]["tags"]
        shown("tags")
        assert page.locator("mark.tag").count() == sum(one["tag"] != "O" for one in tags) > 0
        both = known["both"].predict(photo)[0]["tasks"]
        assert shown("both", photo).startswith(both["image"]["label"])
        assert page.locator(".words h3").all_inner_texts() == ["image", "several"]
        file = models / "waves.npz"
        assert shown("waves", file) == known["waves"].predict(f"{file}#0")[0]["label"]
        assert page.locator("svg.wave path").count() == 2
        with page.expect_response(lambda one: "trial=7" in one.url and "quick" not in one.url) as answer:
            page.get_by_label("Trial", exact=True).fill("7")
            page.keyboard.press("Enter")
        said = answer.value.json()["answer"]
        assert said == {k: v for k, v in known["waves"].predict(f"{file}#7")[0].items() if k != "input"}
        page.get_by_label("Trial", exact=True).fill("8")
        page.keyboard.press("Tab")
        page.get_by_role("alert").get_by_text("holds 8 trials, no number 8").wait_for()


def test_a_photo_that_browsers_do_not_draw_is_drawn_by_the_server(chromium, server, photos, tmp_path):
    Image.open(next(photos.rglob("*.jpg"))).save(tmp_path / "a.tiff")
    with browser.page(chromium) as page:
        ask(page, server, "image")
        broken = "() => [...document.images].some((one) => one.complete && !one.naturalWidth)"
        page.route("**/explain/**", lambda route: None)  # before the server says anything
        page.set_input_files("input[type=file]", tmp_path / "a.tiff")
        page.get_by_text("Asking the model…").wait_for()
        page.wait_for_function(f"!({broken})()")
        page.unroute("**/explain/**")
        page.set_input_files("input[type=file]", tmp_path / "a.tiff")
        page.locator(".inwords").wait_for()
        assert page.locator(".photo img").evaluate("one => one.naturalWidth")


def test_what_is_dropped_and_cannot_be_read_is_said(chromium, server):
    with browser.page(chromium) as page:
        ask(page, server, "image")
        make = "d => (d.items.add(new File(['a photo, it says'], 'no.jpg')), d)"
        dropped = page.evaluate_handle("new DataTransfer()").evaluate_handle(make)
        page.dispatch_event(".drop", "drop", {"dataTransfer": dropped})
        page.get_by_role("alert").wait_for()
        assert "photo" in page.get_by_role("alert").inner_text()
        assert not browser.faults(page)


def test_a_browser_that_knows_the_token_may_ask(chromium, models):
    process, url = served(models / "image", "--token", TOKEN)
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url)
        with browser.page(chromium, http_credentials={"username": "me", "password": TOKEN}) as page:
            page.goto(url)
            page.get_by_text("Drop a photo here").wait_for()
    finally:
        process.terminate()
        process.communicate(timeout=30)


def posted(url: str, body: bytes, kind: str = "application/json") -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind})) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_no_text_names_a_file_of_the_server(server, models):
    """A text that is the path of a text file is answered as a text; of a photo no path is taken."""
    secret = models / "secret.txt"
    secret.write_text(SENTENCE)
    status, said = posted(f"{server}/explain/text", json.dumps({"inputs": [str(secret)]}).encode())
    assert status == 200
    assert said["looked"]["text"] == str(secret)
    photo = json.dumps({"inputs": [str(next(models.rglob("*.wav")))]}).encode()
    assert posted(f"{server}/explain/image", photo)[0] == 422
    assert posted(f"{server}/explain/text", json.dumps({"inputs": [SENTENCE, SENTENCE]}).encode())[0] == 422
    assert posted(f"{server}/explain/none", b"{}")[0] == 404
    for name in ("../page.py", "..%2fpage.py", "%2e%2e/page.py", "page.html", "/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{server}/static/{name}")


def test_the_page_trusts_no_script_but_its_own(server):
    with urllib.request.urlopen(server) as answer:
        policy, text = answer.headers["content-security-policy"], answer.read().decode()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src)|<style|style=|\son\w+=|https?://", text)


def test_a_recording_is_drawn_by_its_extremes():
    from graft.serving.page import POINTS, curve

    x = np.zeros(60_000)
    x[31_234], x[100] = -2.0, 1.0
    points = curve(x)
    assert len(points) == POINTS
    assert points[312][0] == -1.0
    assert points[1][1] == 0.5
    assert curve(np.full(3, np.nan)) == [[0, 0]] * 3
