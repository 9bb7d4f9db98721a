"""A real browser for tests, and what is asked of every page in it: roles, names, contrast, focus, width."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Controls without a name, pictures without an alternative, ids twice, and texts whose contrast is below 4.5 to 1 (3 to
# 1 where they are large): as the browser computes them, not as the CSS says.
FAULTS = (Path(__file__).parent / "faults.js").read_text()
# Whether what has the focus shows it: an outline on it, or on what it stands in.
FOCUS = """() => {
  const lined = (style) => parseFloat(style.outlineWidth) > 1 && style.outlineStyle !== 'none';
  const one = document.activeElement;
  return one !== document.body && (lined(getComputedStyle(one)) || lined(getComputedStyle(one.parentElement)));
}"""
HERE = re.compile(r"http://127\.0\.0\.1:|data:|blob:")


@contextmanager
def opened() -> Iterator[Any]:
    """Debian's chromium, headless; a test that asks for it where there is none is skipped."""
    if not (place := shutil.which("chromium")):
        pytest.skip("there is no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def page(browser: Any, **more: Any) -> Iterator[Any]:
    """A fresh page, in which no script fails, nothing breaks the content policy, and no other host is asked."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce", **more)
    made, wrong = context.new_page(), list[str]()
    made.set_default_timeout(30_000)
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
    made.on(
        "request",
        lambda asked: (
            None if "//127.0.0.1:" in asked.url or asked.url[:5] in ("data:", "blob:") else wrong.append(asked.url)
        ),
    )
    yield made
    assert not wrong
    context.close()


def faults(made: Any) -> list[str]:
    """What would keep somebody from using the page as it is now."""
    return made.evaluate(FAULTS)  # type: ignore[no-any-return]


def reach(made: Any, role: str, name: str, most: int = 60) -> None:
    """Press Tab until the focus is on this control, seeing at each step where it is."""
    for _ in range(most):
        made.keyboard.press("Tab")
        assert made.evaluate(FOCUS), made.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if made.get_by_role(role, name=name).first.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach the {role} {name!r}")
