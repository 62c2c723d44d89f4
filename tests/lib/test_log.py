"""Logs as a process writes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import resource
from tocsin.lib.log import configure, get_logger
configure("json", "info")
log = get_logger("test")
log.info("before", number=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
for level in (log.info, log.warning, log.error):
    level("lost" * 100)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("lost")
print("went on")
"""


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        ended = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=log, check=True)
    assert ended.stdout == b"went on\n"
    assert (tmp_path / "log").read_text().startswith('{"service": "test", "number": 1, "event": "before"')


def test_an_exception_is_told_on_a_terminal_without_the_values_of_variables() -> None:
    """Among them are secrets."""
    program = """
import structlog
from tocsin.lib.log import configure, get_logger
configure("text", "info")
def fail(password):
    raise ValueError("it went wrong")
try:
    fail("s3cr3t" + "-words")
except ValueError:
    get_logger("test").exception("a thing failed")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "ValueError: it went wrong" in ran.stderr
    assert "fail" in ran.stderr
    assert "s3cr3t-words" not in ran.stderr
