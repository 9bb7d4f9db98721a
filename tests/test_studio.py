"""The studio: the whole path in a browser, on real data with the built-in networks; and what it refuses."""

import asyncio
import fcntl
import io
import json
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import browser
import graft
from command import cli
from graft.core.errors import DataError, GraftError
from graft.core.events import tell
from graft.studio import guard, jobs, projects, told, uploads

# ── what is handed over ───────────────────────────────────────────────────────────────────────────────────────────────


def packed(place: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return place


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "name",
    ["../out.txt", "a/../../out.txt", "/etc/out.txt", "a\\..\\out.txt", "a//b", "./a", "a/\0b", "", "a/" + "b" * 300],
)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    with pytest.raises(DataError, match="no name that can be kept"):
        asyncio.run(uploads.receive(chunks(), name, tmp_path / "data"))
    if "\0" not in name:
        with pytest.raises(DataError):
            uploads.unpack(packed(tmp_path / "a.zip", ("fine.txt", b"x"), (name or ".", b"x")), tmp_path / "unpacked")
    assert [entry.name for entry in tmp_path.rglob("*")] in ([], ["a.zip"])


def hostile(place: Path) -> dict[str, Path]:
    """Archives that must not be unpacked, by the reason."""
    bomb = packed(place / "bomb.zip", ("zeros", bytes(3_000_000)))
    whole = packed(place / "whole.zip", ("a/photo.txt", b"a text " * 999)).read_bytes()
    (place / "cut.zip").write_bytes(whole[:-30])
    flipped = bytearray(whole)
    flipped[60] ^= 255
    (place / "flipped.zip").write_bytes(flipped)
    locked = bytearray(whole)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + offset] |= 1
    (place / "locked.zip").write_bytes(locked)
    both = packed(place / "both.zip", ("a", b"x"), ("a/b", b"x"))
    return {
        "too much": bomb, "cannot be unpacked: File is not": place / "cut.zip",
        "cannot be unpacked": place / "flipped.zip", "encrypted": place / "locked.zip",
        "two things alike": both, "no files": packed(place / "none.zip", ("a/", b"")),
        "a link": packed(place / "link.zip", (link("a/b"), b"/etc/passwd")),
    }  # fmt: skip


def test_hostile_archives_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "FREE", 1_000_000)
    for reason, archive in hostile(tmp_path).items():
        with pytest.raises(DataError, match=reason):
            uploads.unpack(archive, tmp_path / "unpacked")
        assert not [entry for entry in tmp_path.iterdir() if not entry.name.endswith(".zip")], reason


def test_an_archive_is_unpacked_without_what_systems_leave_in_it(tmp_path):
    archive = packed(
        tmp_path / "a.zip", ("photos/cat/1.txt", b"cat"), ("__MACOSX/photos/._1", b"x"), ("photos/.DS_Store", b"x")
    )
    assert uploads.unpack(archive, tmp_path / "data") == 1
    assert [str(file.relative_to(tmp_path)) for file in (tmp_path / "data").rglob("*.*")] == ["data/photos/cat/1.txt"]


def test_folders_around_the_data_do_not_count(home):
    folder = projects.create("photos")
    for name in ("cat", "dog"):
        (folder / "data/my photos/all" / name).mkdir(parents=True)
    assert projects.root(folder) == folder / "data/my photos/all"
    with pytest.raises(DataError, match="drop a folder"):
        projects.root(projects.create("nothing"))


def test_other_choices_make_later_steps_old(home):
    folder = projects.create("x")
    for verb in projects.VERBS:
        (folder / "jobs" / verb).mkdir(parents=True)

    def left() -> set[str]:
        return {entry.name for entry in (folder / "jobs").iterdir()}

    projects.choose(folder, strategy="auto")
    assert left() == {*projects.VERBS}
    projects.choose(folder, strategy="full")
    assert left() == {"load", "rank"}
    projects.choose(folder, head="regression")
    assert left() == set()
    (folder / "jobs/rank").mkdir()  # while the data are read again
    assert "ranking" not in told.project(folder, None)


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def ended(jobs_: jobs.Jobs, folder: Path) -> dict:
    until = time.monotonic() + 60
    while (state := jobs.state(folder, jobs_.running()))["state"] == "running" or jobs_.child.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    return state


def test_one_job_at_a_time_and_a_stopped_one_is_known_as_such(home, photos):
    place = projects.place()
    mine, folder = jobs.Jobs(place), place / "abc/jobs/load"
    mine.start(folder, ["load", str(photos), "--json"])
    with pytest.raises(GraftError, match="already"):
        mine.start(place / "other/jobs/load", ["load", str(photos), "--json"])
    another = jobs.Jobs(place)  # a studio that was started meanwhile
    assert jobs.state(folder, another.running())["state"] == "running"
    another.stop()
    assert jobs.state(folder, mine.running())["state"] == "stopped"
    mine.start(folder, ["load", str(photos / "none"), "--json"])
    mine.child.wait()
    while not (folder / "status").exists():
        time.sleep(0.02)
    state = jobs.state(folder, mine.running())
    assert state["state"] == "failed"
    assert state["why"].startswith("There is no")


# ── who may speak with it ─────────────────────────────────────────────────────────────────────────────────────────────


class Studio:
    """A studio in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "graft.cli", "studio", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = re.search(r"http://\S+", self.process.stdout.readline())[0]

    def end(self, how: int = signal.SIGINT) -> int:
        self.process.send_signal(how)
        self.process.communicate(timeout=30)
        return self.process.returncode


def test_only_a_browser_here_with_the_token_is_answered(home):
    from fastapi.testclient import TestClient

    from graft.studio.app import app

    at = "http://127.0.0.1:8642"
    with TestClient(app("secret"), base_url=at) as stranger:
        assert stranger.get("/").status_code == 401
        assert stranger.get("/?token=guess").status_code == 401
        assert stranger.get("/projects", headers={"cookie": f"{guard.COOKIE}=guess"}).status_code == 401
        assert stranger.get("/?token=secret", headers={"host": "evil.example"}).status_code == 400
    with TestClient(app("secret"), base_url=at) as known:
        page = known.get("/?token=secret")
        assert page.status_code == 200
        assert "token" not in str(page.url)
        assert "unsafe" not in page.headers["content-security-policy"]
        ask = {"json": {"name": "x"}}
        assert known.post("/projects", headers={"origin": "http://evil.example"}, **ask).status_code == 403
        assert known.post("/projects", headers={"origin": "http://127.0.0.1:9999"}, **ask).status_code == 403
        id = known.post("/projects", headers={"origin": at}, **ask).json()["id"]
        assert known.get("/projects", headers={"host": "localhost.evil.example"}).status_code == 400
        for path in ("../../x", "/etc/x"):
            assert known.put(f"/projects/{id}/files", params={"path": path}, content=b"x").status_code == 422
        assert known.get("/projects/..%2f..%2fx").status_code in (404, 422)
        assert (
            known.post(f"/projects/{id}/jobs/load", json={}).json()["error"].startswith("Nothing has been handed over")
        )
        assert known.post(f"/projects/{id}/jobs/rank", json={}).status_code == 422
        assert known.post(f"/projects/{id}/jobs/cache", json={}).status_code == 422
        assert known.delete(f"/projects/{id}").status_code == 200
        assert known.get("/projects").json()["projects"] == []
    assert (projects.place().stat().st_mode & 0o077) == 0


# ── the whole path ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_from_a_zip_to_a_model_with_the_keyboard(tiny_home, photos, tmp_path):
    """Every step in the browser; the page and the studio are closed and opened again on the way."""
    names = [file for kind in ("disc", "stripes") for file in sorted((photos / kind).glob("*.jpg"))[:14]]
    archive = packed(
        tmp_path / "shapes.zip", *((str(file.relative_to(photos.parent)), file.read_bytes()) for file in names)
    )
    studio = Studio()
    try:
        with browser.opened() as chromium, browser.page(chromium, accept_downloads=True) as page:
            page.set_default_timeout(120_000)
            page.goto(studio.url)
            assert page.get_by_role("heading", level=1).inner_text() == "Begin with examples"
            assert not browser.faults(page)
            page.set_input_files("input[type=file]:not([webkitdirectory])", archive)
            page.get_by_text("28 photos were read.").wait_for()
            assert page.get_by_role("heading", level=1).inner_text() == "shapes"
            page.get_by_role("radio", name="2 minutes").evaluate("one => { one.value = 10 }")  # what a test can afford
            page.get_by_role("heading", name="Your data").focus()
            browser.reach(page, "radio", "10 minutes")
            page.keyboard.press("ArrowLeft")
            browser.reach(page, "checkbox", "Only the small built-in networks")
            page.keyboard.press("Space")
            browser.reach(page, "button", "Compare starting points")
            page.keyboard.press("Enter")
            page.get_by_role("heading", name="Starting points").wait_for()
            page.get_by_role("button", name="Make a plan").wait_for()
            asked = page.locator("#step-rank input[type=radio]").evaluate_all("all => all.map((one) => one.value)")
            assert "tiny/shapes" in asked
            assert set(asked) <= {"tiny/shapes", "tiny/random", "tiny/noise"}  # as many as there was time for
            assert page.locator("#live").inner_text() == "The starting points are compared."
            page.reload()
            browser.reach(page, "button", "Make a plan")
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Accept and begin").wait_for()
            exact = page.get_by_text("This has one exact answer.").count() == page.locator("#step-plan ol li").count()
            ways = {"full": "Let the whole network learn", "linear_probe": "This has one exact answer."}
            for way, step in list(ways.items())[not exact :]:
                page.get_by_text("Why, and what else could be done").click()
                page.get_by_label("Another way").select_option(way)
                page.get_by_role("button", name="Plan with this").click()
                page.locator("#step-plan li").get_by_text(step).wait_for()
            for width in (1200, 360):
                page.set_viewport_size({"width": width, "height": 800})
                assert not browser.faults(page), width
            page.get_by_role("button", name="Accept and begin").click()
            page.get_by_role("button", name="Stop").wait_for()
            port = int(re.search(r":(\d+)/", studio.url)[1])
            assert studio.end() == 0  # in the middle of the work
            page.get_by_role("alert").get_by_text("does not answer").wait_for()
            command = [sys.executable, "-m", "graft.cli", "studio", "--port", str(port)]
            studio.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            page.get_by_text("Interrupted. It goes on from where it was.").wait_for()
            page.get_by_role("button", name="Go on").click()
            page.get_by_role("heading", name="Did it help?").wait_for()
            with page.expect_download() as taken:
                page.get_by_role("link", name="Download the model").click()
            with zipfile.ZipFile(io.BytesIO(Path(taken.value.path()).read_bytes())) as got:
                got.extractall(tmp_path / "got")
            model = graft.open(tmp_path / "got/shapes")
            assert page.locator("#step-verdict").get_by_text(model.card["report"]["sentence"]).is_visible()
            page.locator("#step-verdict input[type=file]").set_input_files(names[0])
            page.locator(".inwords").wait_for()
            assert page.locator(".said strong").inner_text() == model.predict(names[0])[0]["label"]
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                for width in (1200, 360):
                    page.set_viewport_size({"width": width, "height": 800})
                    assert not browser.faults(page), (scheme, width)
            page.goto(studio.url.partition("?")[0])
            page.get_by_role("button", name="Remove shapes").click()
            page.get_by_role("dialog").get_by_role("button", name="Remove").click()
            page.get_by_text("Begun before").wait_for(state="detached")
            assert not projects.everyone()
    finally:
        studio.end()


def test_a_folder_is_handed_over_and_a_second_studio_refused(home, photos):
    studio = Studio()
    try:
        with browser.opened() as chromium, browser.page(chromium) as page:
            page.goto(studio.url)
            page.set_input_files("input[webkitdirectory]", photos)
            page.get_by_text("60 photos were read.").wait_for()
        (folder,) = projects.everyone()
        sent = {file.relative_to(photos): file.read_bytes() for file in photos.rglob("*.jpg")}
        root = projects.root(folder)
        assert {file.relative_to(root): file.read_bytes() for file in root.rglob("*.*")} == sent
        second = cli("studio", "--port", 0)
        assert second.returncode == 2
        assert "runs already" in second.stderr
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(studio.url.partition("?")[0])
    finally:
        assert studio.end() == 0


def test_what_is_measured_and_learned_is_seen_while_it_goes_on(home, photos, monkeypatch):
    place, folder = projects.place(), projects.create("shapes")
    (folder / "jobs/load").mkdir(parents=True)
    (folder / "jobs/load/out.json").write_text(cli("load", photos, "--json").stdout)
    with (place / ".job.lock").open("a") as lock:  # held by whatever works, here by one who sleeps
        fcntl.flock(lock, fcntl.LOCK_EX)
        worker = subprocess.Popen(["sleep", "600"], start_new_session=True, pass_fds=(lock.fileno(),))

    def works_on(verb: str) -> None:
        (folder / "jobs" / verb).mkdir()
        monkeypatch.setenv("GRAFT_EVENTS", str(folder / "jobs" / verb / "events.jsonl"))
        about = {"folder": str(folder / "jobs" / verb), "pid": worker.pid, "began": time.time()}
        (place / "job.json").write_text(json.dumps(about))

    works_on("rank")
    tell("measured", backbone="tiny/random", score=0.5, examples=20)
    studio = Studio()
    try:
        with browser.opened() as chromium, browser.page(chromium) as page:
            page.goto(f"{studio.url}")
            page.goto(f"{studio.url.partition('?')[0]}#{folder.name}")
            so_far = page.get_by_role("list", name="Starting points so far")
            so_far.get_by_text("50.0 %").wait_for()
            tell("measured", backbone="tiny/shapes", score=0.75, examples=20)
            so_far.get_by_text("75.0 %").wait_for()
            assert so_far.locator(".name").all_inner_texts() == ["tiny/shapes", "tiny/random"]
            assert page.get_by_text("Counted without the").is_visible()
            assert not browser.faults(page)
            works_on("transfer")
            tell("training", strategy="lp_ft", backbone="tiny/shapes", seed=0, pretrained=True)
            page.get_by_text("lp ft, seed 0").wait_for()
            for epoch, score in enumerate((0.5, 0.8)):
                tell("epoch", phase=0, epoch=epoch, loss=1.0, score=score)
            page.get_by_role("img", name="accuracy on validation, from 0.500 to 0.800 after 2 rounds").wait_for()
            assert not browser.faults(page)
    finally:
        studio.end()
    assert worker.wait(30) < 0  # whoever ends the studio ends what works for it


def test_a_browser_without_the_token_is_told_where_it_is(home):
    studio = Studio()
    try:
        with browser.opened() as chromium, browser.page(chromium) as page:
            assert page.goto(studio.url.partition("?")[0]).status == 401
            assert "printed in the terminal" in page.locator("main").inner_text()
            assert not browser.faults(page)
            page.goto(studio.url)
            page.get_by_role("heading", name="Begin with examples").wait_for()
    finally:
        studio.end()


def test_no_path_of_the_home_is_shown(home, photos):
    folder = projects.create("shapes")
    (folder / "jobs/rank").mkdir(parents=True)
    (folder / "jobs/rank/log.txt").write_text(f"graft: {folder}/data/shapes/a.jpg is damaged.\n")
    (folder / "jobs/rank/status").write_text("2")
    assert told.project(folder, None)["jobs"]["rank"]["why"] == "shapes/a.jpg is damaged."
