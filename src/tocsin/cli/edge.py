"""tocsin edge: the public relay. Knows only how to ask for it; ``tocsin.main.edge`` starts and stops it.

Read without Typer, which loads pydantic: the relay is for a small server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from tocsin.cli.plain import WRONG_USE, Parser

_DESCRIPTION: Final = """\
Start the public relay: it shows the world what a gateway hands it, and has no database. TOCSIN_EDGE_KEY is the key that
the gateway has to show; there it is set with TOCSIN_EDGE_URL, this relay's address. Ends gracefully on Ctrl-C or
SIGTERM."""


def parser() -> Parser:
    made = Parser(prog="tocsin edge", description=_DESCRIPTION, allow_abbrev=False)
    made.add_argument("--host", help="address to listen on; or TOCSIN_HOST, or 127.0.0.1")
    made.add_argument("--port", type=int, help="port to listen on; or TOCSIN_PORT, or 8080")
    return made


def main(arguments: Sequence[str]) -> int:
    given = {name: value for name, value in vars(parser().parse_args(arguments)).items() if value is not None}

    from tocsin.edge.settings import EdgeSettings, WrongSettings

    try:
        settings = EdgeSettings.read(os.environ, given=given)
    except WrongSettings as error:
        print(f"The settings cannot be used:\n{error}", file=sys.stderr)
        return WRONG_USE

    from tocsin.main.edge import run

    return run(settings)
