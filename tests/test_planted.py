"""Planted help and harm: the verdict says what was planted, through the same path as a user's run."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "planted.py"


def test_what_was_planted_is_found(tmp_path: Path) -> None:
    """Eight points more, or less, than what the columns allow; and weights that know nothing are never said to help."""
    asked = ["--labels", "200", "--tested", "1000", "--seeds", "1", "--points", "-8", "8", "random"]
    out = tmp_path / "planted.jsonl"
    done = subprocess.run(
        [sys.executable, BENCHMARK, *asked, "--out", out], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    harm, help, random = map(json.loads, out.read_text().splitlines())
    assert (harm["verdict"], help["verdict"]) == ("negative", "positive")
    assert random["verdict"] != "positive"
    for found in (harm, help, random):
        assert found["scores"][found["ships"]] >= max(found["scores"].values()) - 0.01
        assert found["shows"] < 0.08  # the report's own word: so large a gain it can tell
    assert help["ships"] == "adapted" != harm["ships"]
