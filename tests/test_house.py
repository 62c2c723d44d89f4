"""Rules of the house that import-linter cannot say. Each rule is shown to find what it is there to find."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tocsin.channels import CHANNELS
from tocsin.probes import PROBES

SOURCE = Path(__file__).parent.parent / "src" / "tocsin"

Rule = Callable[[ast.Module], Iterator[tuple[int, str]]]
"""Yields (line, what is wrong) for one parsed file."""


def _texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """String constants that are not docstrings (or the bare strings that document fields)."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.lineno, node.module


_ENGINE = re.compile(r"sqlite|postgres|redis|psycopg", re.IGNORECASE)


def engine_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for text in _texts(tree):
        if _ENGINE.search(str(text.value)):
            yield text.lineno, f"names an engine: {text.value!r}"
    for node in ast.walk(tree):
        name = {ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg"}.get(type(node))
        if name and _ENGINE.search(getattr(node, name)):
            yield getattr(node, "lineno", 0), f"names an engine: {getattr(node, name)}"
    for line, module in _imported(tree):
        if _ENGINE.search(module):
            yield line, f"imports an engine: {module}"


_STATEMENT = re.compile(
    r"^\s*(SELECT\s.+\sFROM\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|PRAGMA\s)", re.DOTALL
)


def sql(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for text in _texts(tree):
        if _STATEMENT.match(str(text.value)):
            yield text.lineno, f"holds SQL: {str(text.value)[:60]!r}"
    for node in ast.walk(tree):
        # A query takes the connection first, so its callers may name that type and nothing else.
        if isinstance(node, ast.ImportFrom) and [name.name for name in node.names] == ["Connection"]:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            for line, module in _imported(ast.Module([node], [])):
                if module.split(".")[0] in ("sqlalchemy", "alembic"):
                    yield line, f"imports {module}"


_PURE = {"numpy", "cronsim", "tocsin", "__future__"}
_IMPURE = {
    "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "select",
    "signal", "socket", "ssl", "subprocess", "sys", "threading", "time", "urllib.request",
}  # fmt: skip


def impure_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for line, module in _imported(tree):
        root = module.split(".")[0]
        if root in _IMPURE or module in _IMPURE:
            yield line, f"imports {module}, which reaches outside"
        elif root not in _PURE and root not in sys.stdlib_module_names:
            yield line, f"imports {module}, which is neither the standard library nor NumPy"


_CLOCKS = {"now", "utcnow", "today"}


def clocks_and_awaits(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield node.lineno, "awaits"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if node.func.attr in _CLOCKS and isinstance(owner, ast.Name) and owner.id in ("datetime", "date"):
                yield node.lineno, f"reads a clock: {ast.unparse(node)}"


def ownerless_tasks(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """A task group's ``create_task`` is fine: it has an owner."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = ast.unparse(node.func.value)
        if node.func.attr == "ensure_future" or (
            node.func.attr == "create_task" and re.search(r"\basyncio\b|loop\b", owner)
        ):
            yield node.lineno, f"starts a task nobody owns: {ast.unparse(node)[:80]}"


def kinds_by_name(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """``kind == "http"`` and its relatives: what differs by kind belongs in the kind's table."""
    plugins = {*PROBES, *CHANNELS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            names = {ast.unparse(side).split(".")[-1] for side in (node.left, *node.comparators)}
            values = {child.value for child in ast.walk(node) if isinstance(child, ast.Constant)}
        elif isinstance(node, ast.Match):
            names = {ast.unparse(node.subject).split(".")[-1]}
            values = {
                child.value
                for case in node.cases
                for child in ast.walk(case.pattern)
                if isinstance(child, ast.Constant)
            }
        else:
            continue
        if "kind" in names and values & plugins:
            yield node.lineno, f"decides by kind: {ast.unparse(node).splitlines()[0]}"


def everywhere_but(*rooms: str) -> Callable[[Path], bool]:
    return lambda path: (
        not any(path == Path(room) or (room.endswith("/") and path.is_relative_to(room)) for room in rooms)
    )


def only_in(room: str) -> Callable[[Path], bool]:
    return lambda path: path.is_relative_to(room)


# rule, where it holds, a file it must refuse
RULES: dict[str, tuple[Rule, Callable[[Path], bool], str]] = {
    "engines are named only where they are chosen": (
        engine_names,
        # lib/starttls.py names protocols that targets speak; lib/spool.py keeps a file of its own, which no other
        # engine can
        everywhere_but("store/", "bus/", "main/", "settings.py", "cli/doctor.py", "lib/starttls.py", "lib/spool.py"),
        'if store.engine_name == "sqlite": pass',
    ),
    "SQL lives in the store": (
        sql,
        everywhere_but("store/", "lib/spool.py"),
        'rows = conn.execute(text("SELECT id FROM targets"))',
    ),
    "SQLAlchemy stays in the store": (sql, everywhere_but("store/", "lib/spool.py"), "from sqlalchemy import select"),
    "the core imports nothing that reaches outside": (impure_imports, only_in("core"), "import time"),
    "the core imports no library but NumPy": (impure_imports, only_in("core"), "import httpx"),
    "the core reads no clock": (clocks_and_awaits, only_in("core"), "now = datetime.now(UTC)"),
    "the core awaits nothing": (clocks_and_awaits, only_in("core"), "async def f() -> None: await g()"),
    "every task has an owner": (
        ownerless_tasks,
        everywhere_but("lib/"),
        "asyncio.create_task(work())",
    ),
    "nothing decides by a kind's name": (kinds_by_name, lambda _: True, 'x = 1 if target.kind == "http" else 2'),
}


@pytest.mark.parametrize("name", RULES)
def test_the_house_keeps(name: str) -> None:
    rule, holds, _ = RULES[name]
    broken = [
        f"{path.relative_to(SOURCE)}:{line}: {what}"
        for path in sorted(SOURCE.rglob("*.py"))
        if holds(path.relative_to(SOURCE))
        for line, what in rule(ast.parse(path.read_text("utf-8")))
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("name", RULES)
def test_the_rule_finds_what_it_forbids(name: str) -> None:
    rule, _, forbidden = RULES[name]
    assert list(rule(ast.parse(forbidden)))


def test_words_in_documentation_are_free() -> None:
    assert not list(engine_names(ast.parse('"""Works on SQLite."""\nX = 1\n"""Not Redis."""')))


def test_a_task_group_owns_its_tasks() -> None:
    assert not list(ownerless_tasks(ast.parse("group.create_task(work())")))


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "versions" not in path.parts and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert not silent
