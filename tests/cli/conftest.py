"""The command line, called in this process on an installation of its own."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tocsin.cli import main


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """``commands("target", "list")`` runs it and gives back what it said."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, stdin: str = "") -> Said:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self._capsys.readouterr()
        code = main(arguments)
        out, err = self._capsys.readouterr()
        return Said(code, out, err)

    def ok(self, *arguments: str, stdin: str = "") -> Said:
        said = self(*arguments, stdin=stdin)
        assert said.code == 0, said.err
        return said


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Nothing is there yet."""
    for name in os.environ:
        if name.upper().startswith("TOCSIN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOCSIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Commands(tmp_path, monkeypatch, capsys)


@pytest.fixture
def commands(bare: Commands) -> Commands:
    """A database is there, and empty."""
    bare.ok("migrate")
    return bare
