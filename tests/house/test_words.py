"""House rules that no linter knows: words, private data, and paths that belong to no product."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = {"variant", "variants", "user", "users", "subscriber", "subscribers", "recipient", "recipients"}
FOREIGN_WELCOME = ("protocols", "doors")
TEXT = {".py", ".sql", ".md", ".toml", ".yml", ".yaml", ".json", ".html", ".tpl", ".txt", ".in", ""}


def tracked() -> list[Path]:
    """Every text file of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.splitlines() if Path(name).suffix in TEXT and (ROOT / name).is_file()]


def modules() -> list[Path]:
    return [
        path for path in tracked() if path.suffix == ".py" and path.parts[len(ROOT.parts)] in ("services", "shared")
    ]


def identifiers(path: Path) -> Iterator[str]:
    """Names that the code gives: functions, classes, arguments, variables, fields."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def words(identifier: str) -> set[str]:
    return {word.lower() for part in identifier.split("_") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", part)}


def test_customers_and_arms_keep_their_names() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules()
        if not set(FOREIGN_WELCOME) & set(path.parts)
        for name in identifiers(path)
        if words(name) & FOREIGN and path.parent.name != "stack"  # a system's user is no customer
    }
    assert not found


def test_every_public_function_says_what_it_means() -> None:
    silent = {
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in modules()
        if path.parent.name == "stats" or "stats" in path.parts
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    }
    assert not silent


def test_every_module_says_what_it_is_for() -> None:
    silent = {str(path.relative_to(ROOT)) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))}
    empty = {name for name in silent if not (ROOT / name).read_text().strip()}
    assert silent - empty == set()


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of some machine", r"/(?:root|home/[a-z]+|work|tmp/brief|farm)/"),
        ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY"),
        ("a mark of unfinished work", r"\b(?:TODO|FIXME|XXX|HACK)\b"),
        ("a registry's address", r"https?://(?:files\.pythonhosted|pypi|registry\.npmjs)\."),
    ],
)
def test_no_file_holds(what: str, pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path != Path(__file__) and path.name != "LICENSE"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found, what
