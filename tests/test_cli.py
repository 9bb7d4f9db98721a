"""The command line before any work is done: what it lists, and how it takes what nobody meant to type."""

import json
import logging
import os
import pty
import re
import subprocess
import sys

import pytest
from tqdm import tqdm

import graft
from command import here
from graft import cli, words
from graft.arguments import parser
from graft.core.nouns import Artifact
from served import colours


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What it says, having ended with status 2."""
    with pytest.raises(SystemExit) as ended:
        here(*words)
    assert ended.value.code == 2
    out, said = capsys.readouterr()
    assert not out
    return said


def test_graft_alone_lists_every_command(capsys):
    said = refused(capsys)
    assert all(f"\n    {name}" in said for name in cli.COMMANDS)
    assert set(parser().commands) == set(cli.COMMANDS)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("transfr", "photos"), "graft: there is no command 'transfr'. Did you mean transfer? See"),
        (("rank", "photos", "--bakbone=x"), "`graft rank` has no option --bakbone. Did you mean --backbone"),
        (("load", "photos", "--strategy", "full"), "`graft load` has no option --strategy. `graft transfer`, "),
        (("load", "photos", "more"), "'more' is one argument more than `graft load` takes. See `graft load --help`."),
        (("rank",), "DATA is missing"),
        (("export", "model", "--to", "openvino", "out"), "`graft export DATA --format openvino`. See"),
        (("plan", "photos", "--budget", "soon"), "'soon' is not a time above zero such as 90s, 10m or 2h. See"),
    ],
)
def test_a_slip_is_told_in_one_line_with_the_nearest_name(capsys, words, hint):
    said = refused(capsys, *words)
    assert hint in said
    assert said.count("\n") == 1


def test_a_list_has_names_above_its_columns(home, capsys):
    assert here("list", "backbones") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert here("list", "backbones", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert head.split() == [*entries[0]]
    for entry, line in zip(entries, lines, strict=True):
        for name, value in entry.items():
            assert line[head.index(name) :].startswith(str(value or ""))


def test_quiet_says_nothing_but_errors(capsys, monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "list", lambda a: logging.getLogger("graft").warning("a note"))
    assert [here("list", *words) or capsys.readouterr().err for words in ((), ("--quiet",))] == ["a note\n", ""]


@pytest.mark.parametrize(
    ("rows", "asked", "says"),
    [
        (["note,topic", "{} is a long note,x"], ["--label", "species"], "no column 'species'. It has: note, topic."),
        (["note", "{} is a long note"], [], "It has: note. Add a column that says it, and name it with --label."),
    ],
)
def test_a_table_without_its_labels_is_told_with_all_that_it_has(home, capsys, tmp_path, rows, asked, says):
    (tmp_path / "table.csv").write_text("\n".join([rows[0], *map(rows[1].format, "abcdefghij")]))
    assert here("load", tmp_path / "table.csv", *asked) == 2
    assert says in capsys.readouterr().err


def test_bars_part_columns(home, tmp_path):
    (tmp_path / "t.csv").write_text("a|b|kind\n" + "".join(f"{i}|{i % 7}|{'xy'[i % 2]}\n" for i in range(40)))
    assert graft.load(tmp_path / "t.csv").reading["columns"] == ["a", "b"]


def test_without_torch_it_is_said_what_is_lacking(home, photos):
    code = (
        "import sys; sys.modules['torch'] = None; from graft.cli import main; sys.exit(main(['rank', *sys.argv[1:]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, photos, "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("graft: `graft rank` needs torch, which is not installed here. Install graft")


def test_what_is_nowhere_is_told_with_what_to_name(home, capsys):
    assert here("load", "nosuch") == 2
    assert capsys.readouterr().err == (
        "graft: There is no nosuch. Name a folder with one folder per class, or a table.\n"
    )


def test_a_line_takes_the_place_of_a_progress_bar():
    reads, writes = pty.openpty()
    with os.fdopen(writes, "w") as terminal:
        shown, early = (
            tqdm(total=9, desc=name, file=terminal, ncols=40, mininterval=0, delay=delay, leave=False, disable=False)
            for name, delay in (("shown", 1e-9), ("early", 60))
        )
        shown.update()
        cli.Lines(terminal).emit(logging.makeLogRecord({"msg": "a line"}))
        shown.close()
        early.close()
        terminal.flush()
        said = os.read(reads, 10_000).decode()
    os.close(reads)
    before, line, _ = said.partition("a line\r\n")
    assert line
    bar, blank = re.search(r"\r(shown:  11%[^\r]*)\r( *)\r", before).groups()
    assert len(blank) == len(bar)
    assert "early" not in said


def test_the_last_line_says_where_the_report_is(tmp_path):
    some = Artifact(
        str(tmp_path), "adapted", "positive", "It helped.", ("a",), {}, 0.0, f"graft predict {tmp_path} PHOTO"
    )
    assert words.artifact(some).endswith(some.predict)
    (tmp_path / "report.html").write_text("")
    assert words.artifact(some).endswith(f"{some.predict}\nOpen {tmp_path}/report.html to see what was shown.")


def test_an_artifact_where_data_are_wanted_is_told_as_such(home, capsys, tmp_path):
    model = colours(tmp_path / "model")
    for command in ("transfer", "export"):
        assert here(command, model) == 2
        said = capsys.readouterr().err
        assert f"{model} is an artifact, not data: `graft predict {model} INPUT` answers with it, `graft export" in said


def test_a_file_that_is_not_there_is_named_once(capsys, tmp_path):
    assert here("predict", colours(tmp_path / "model"), "nofile.jpg") == 2
    assert capsys.readouterr().err == "graft: There is no nofile.jpg.\ngraft: Nothing could be answered.\n"
