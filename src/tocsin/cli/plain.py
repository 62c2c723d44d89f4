"""Options read without Typer, for commands that run for years in a process with no room for it."""

from __future__ import annotations

import argparse
import sys
from typing import Final, NoReturn

WRONG_USE: Final = 2


class Parser(argparse.ArgumentParser):
    """Speaks as the other commands do."""

    def format_usage(self) -> str:
        return super().format_usage().replace("usage:", "Usage:", 1)

    def format_help(self) -> str:
        return super().format_help().replace("usage:", "Usage:", 1)

    def error(self, message: str) -> NoReturn:
        print(f"{self.format_usage()}{message}", file=sys.stderr)
        raise SystemExit(WRONG_USE)
