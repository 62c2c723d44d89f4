"""The example in CONTRIBUTING.md is a whole probe, and its test passes."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from tests.probes.probing import Examining
from tocsin.probes import PROBES

GUIDE = Path(__file__).parent.parent.parent / "CONTRIBUTING.md"


def module(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(source, name, "exec", dont_inherit=True), made.__dict__)
    return made


async def test_the_example_works(examined: Examining, monkeypatch: pytest.MonkeyPatch) -> None:
    section = GUIDE.read_text("utf-8").partition("## Adding a probe\n")[2].partition("\n## ")[0]
    probe_source, test_source = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    row = module("tocsin.probes.ssh", probe_source, monkeypatch).SSH
    monkeypatch.setitem(PROBES, row.kind, row)
    tests = vars(module("tests.probes.test_ssh", test_source, monkeypatch))
    (test,) = (value for name, value in tests.items() if name.startswith("test_"))
    await cast(Callable[[Examining], Awaitable[None]], test)(examined)
