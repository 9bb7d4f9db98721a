"""The reference: verbs, nouns, scores, shelves and commands, from docstrings and the parser, nothing heavy loaded."""

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

SECTION = re.compile(r"^(Args|Raises|Example|Shape|Range|Returns|Yields):[ \t]*\n?", re.MULTILINE)
Tree = ast.Module | ast.ClassDef
Definition = ast.FunctionDef | ast.ClassDef


def pages(root: Path) -> dict[str, str]:
    """Path on the site → Markdown."""
    source = root / "src"
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    return {page: write(source / "graft") for page, write in PAGES.items()}


def python(package: Path) -> str:
    """Everything in `graft.__all__`."""
    import graft

    there = {name: defined(package, graft._HOME[name].replace(".", "/"), name) for name in graft.__all__}
    kinds = {
        "Verbs": [n for n, one in there.items() if isinstance(one, ast.FunctionDef)],
        "Nouns": [n for n, one in there.items() if isinstance(one, ast.ClassDef) and graft._HOME[n] != "core.errors"],
        "Errors": [n for n in there if graft._HOME[n] == "core.errors"],
    }
    text = ["# Python", "`import graft` brings these names; each is loaded when it is first used."]
    for kind, found in kinds.items():
        text += [f"## {kind}", *(described(there[name], f"graft.{name}") for name in found)]
    return "\n\n".join(text)


def scores(package: Path) -> str:
    """Every file on the shelf of scores."""
    text = [
        "# Scores",
        "`graft.scores` holds a function for each. Which is fooled by what stands in [Scores](../scores.md).",
    ]
    for name, told in shelf(package, "scores"):
        text += [
            f"## {name}",
            told,
            described(defined(package, f"scores/{name}", name), f"graft.scores.{name}", level=0),
        ]
    return "\n\n".join(text)


def shelves(package: Path) -> str:
    """Every shelf, and the first sentence of every file on it."""
    from graft.core.shelf import SHELVES

    text = [
        "# Shelves",
        "One file adds one thing: what `graft list` shows. A strategy or a score may also be a file of yours.",
    ]
    for one in SHELVES:
        rows = [f"| `{name}` | {cell(told)} |" for name, told in shelf(package, one)]
        text += [f"## {one}", "\n".join(["| name | what it is |", "|---|---|", *rows])]
    return "\n\n".join(text)


def commands(package: Path) -> str:
    """Every sub-command and its options, as the parser has them."""
    from graft.arguments import parser

    top = parser()
    text = ["# Command line", top.description or "", "`graft COMMAND --help` shows the same."]
    for name, one in top.commands.items():
        given = sorted((a for a in one._actions if a.dest != "help"), key=lambda a: bool(a.option_strings))
        rows = [f"| {spelt(action)} | {cell(action.help or '')} |" for action in given]
        said = (one.description or "").strip()
        text += [f"## graft {name}", f"{said[:1].upper()}{said[1:]}.", "\n".join(["| | |", "|---|---|", *rows])]
    return "\n\n".join(text)


def spelt(action: argparse.Action) -> str:
    """An option or argument as it is typed."""
    value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    value = value if isinstance(value, str) else " ".join(value)
    value += " …" if action.nargs == "+" else ""
    given = "" if action.nargs == 0 else f" {value}"
    return cell(", ".join(f"`{option}{given}`" for option in action.option_strings) or f"`{value}`")


def shelf(package: Path, name: str) -> Iterator[tuple[str, str]]:
    """The files of a shelf, each with its first sentence."""
    for file in sorted((package / name).glob("[!_]*.py")):
        yield file.stem, (ast.get_docstring(parsed(file)) or "").split("\n\n")[0].replace("\n", " ")


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def defined(package: Path, place: str, name: str) -> Definition:
    """A function or class where it is written, wherever it is imported from on the way."""
    tree = parsed(package / f"{place}.py")
    for node in tree.body:
        if isinstance(node, Definition) and node.name == name:
            node.lines = (package / f"{place}.py").read_text(encoding="utf-8").splitlines()
            return node
        if isinstance(node, ast.ImportFrom) and node.module and name in {alias.name for alias in node.names}:
            return defined(package, node.module.removeprefix("graft.").replace(".", "/"), name)
    raise LookupError(f"{place}.py holds no {name}")


def described(one: Definition, name: str, level: int = 3) -> str:
    """A heading, the signature, the docstring, and a noun's fields."""
    text = [f"{'#' * level} {name}"] if level else []
    if isinstance(one, ast.FunctionDef):
        text.append(signature(one, name))
    text.append(prose(ast.get_docstring(one) or ""))
    if isinstance(one, ast.ClassDef):
        if rows := list(fields(one)):
            text.append("\n".join(["| field | type | default | |", "|---|---|---|---|", *rows]))
        methods = [n for n in one.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_" and ast.get_docstring(n)]
        text += [described(method, f"{name.removeprefix('graft.')}.{method.name}", level + 1) for method in methods]
    return "\n\n".join(text)


def signature(one: ast.FunctionDef, name: str) -> str:
    """As it is called: one line, or one for each argument where that is too long."""
    given = [argument for argument in one.args.args if argument.arg == "self"]
    one.args.args = [argument for argument in one.args.args if argument not in given]
    returned = f" -> {ast.unparse(one.returns)}" if one.returns else ""
    if any(ast.unparse(mark) == "property" for mark in one.decorator_list):
        return f"```\n{name}{returned}\n```"
    whole = f"{name}({ast.unparse(one.args)}){returned}"
    if len(whole) > 88:
        split = re.sub(r", (?=\*?\*?\w+(?::|$|,)|\*,)", ",\n    ", ast.unparse(one.args))
        whole = f"{name}(\n    {split},\n){returned}"
    return f"```\n{whole}\n```"


def fields(one: ast.ClassDef) -> Iterator[str]:
    """The rows of a noun's table; what a field means is the comment beside it."""
    for node in one.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            default = "" if node.value is None else f"`{cell(ast.unparse(node.value))}`"
            said = [one.lines[line - 1].partition("  # ")[2] for line in range(node.lineno, (node.end_lineno or 0) + 1)]
            kind = cell(ast.unparse(node.annotation))
            yield f"| `{node.target.id}` | `{kind}` | {default} | {cell(' '.join(said))} |"


def prose(docstring: str) -> str:
    """A docstring as Markdown: its sections as lists, examples and drawings as code."""
    begin, *rest = SECTION.split(docstring)
    text = [paragraphs(begin)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        if title == "Example":
            lines = re.sub(r" *# doctest:.*", "", body).strip("\n").splitlines()
            text.append("**Example**\n\n```\n" + "\n".join(line.removeprefix("    ") for line in lines) + "\n```")
        elif title in ("Args", "Raises"):
            items = re.split(r"\n {4}(?=\S)", "\n" + body.strip("\n"))[1:]
            made = [
                f"- `{name}`: {' '.join(said.split())}" for name, _, said in (item.partition(":") for item in items)
            ]
            text.append(f"**{title}**\n\n" + "\n".join(made))
        else:
            text.append(f"**{title}** {paragraphs(body)}")
    return "\n\n".join(part for part in text if part.strip())


def paragraphs(text: str) -> str:
    """Text whose signs are no markup, and whose indented lines are code."""
    return re.sub(r"(?m)^(?! {4}).*$", lambda line: line[0].replace("*", r"\*").replace("<", "&lt;"), text)


def cell(text: str) -> str:
    """Text within a table."""
    return " ".join(text.replace("|", r"\|").split())


PAGES: dict[str, Callable[[Path], str]] = {
    "docs/reference/python.md": python,
    "docs/reference/command-line.md": commands,
    "docs/reference/scores.md": scores,
    "docs/reference/shelves.md": shelves,
}
