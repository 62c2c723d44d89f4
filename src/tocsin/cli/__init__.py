"""tocsin …: the command line.

The one place that reads arguments, prints to a terminal and sets an exit code: 0 fine, 1 failed, 2 wrong use.
``tocsin collector`` and ``tocsin edge`` run for years on machines that are small or have other things to do, in a
process without Typer; therefore nothing is loaded here before it is clear what was asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Only our own mistakes get through as exceptions."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["collector"]:
            from tocsin.cli import collector

            return collector.main(words[1:])
        if words[:1] == ["edge"]:
            from tocsin.cli import edge

            return edge.main(words[1:])

        from tocsin.cli.commands import root

        root().main(words, prog_name="tocsin")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:
        from tocsin.cli.terminal import explain

        explained = explain(error)
        if explained is None:
            raise
        print(explained.text, file=sys.stderr)
        return explained.exit_code
    return 0
