"""``python -m bench``: measures, prints a table and writes ``bench/out/results.json``. Slow numbers never fail it."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from bench import bus, edge, engine, load, peer, pieces, storage, worker
from bench.figures import RESULTS, Figure, show, write
from bench.pieces import FULL, QUICK, Lengths
from bench.stand import cores, nginx

Piece = Callable[[Path, list[str], Lengths, "peer.Peer | None"], Iterator[Figure]]

PIECES: Final[dict[str, Piece]] = {
    "engine": lambda place, urls, lengths, rival: engine.rounds(urls, lengths.engine_s, rival),
    "starting": lambda place, urls, lengths, rival: pieces.starting(place, lengths),
    "worker": lambda place, urls, lengths, rival: worker.figures(place, urls, lengths.path_s / 2),
    "path": pieces.path,
    "bus": lambda place, urls, lengths, rival: bus.figures(bus.QUICK if lengths is QUICK else bus.FULL),
    "steady": pieces.steady,
    "many": lambda place, urls, lengths, rival: pieces.many(place, urls, lengths),
    "history": lambda place, urls, lengths, rival: pieces.history(place, urls, lengths),
    "storage": lambda place, urls, lengths, rival: storage.piece(lengths.storage_targets),
    "edge": lambda place, urls, lengths, rival: edge.figures(edge.QUICK if lengths is QUICK else edge.FULL),
    "load": lambda place, urls, lengths, rival: load.piece(place, lengths.steady_s),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter looks: about two minutes, and coarser")
    parser.add_argument("--only", nargs="+", choices=PIECES, metavar="PIECE", help=f"some of {', '.join(PIECES)}")
    arguments = parser.parse_args()
    lengths = QUICK if arguments.quick else FULL
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=120)
    console.print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    if cores().measured == cores().others:
        console.print("There is one core only: the target and the peer share it with what is measured.")
    # What is not measured runs on the other core, so that it takes nothing from what is.
    os.sched_setaffinity(0, {cores().others})

    figures: list[Figure] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as directory:
        place = Path(directory)
        try:
            with nginx(place) as urls, peer.peer(place) as rival:
                if rival is None:
                    console.print("prometheus-blackbox-exporter is not installed: there is nothing to compare with.")
                for name in arguments.only or PIECES:
                    began = time.monotonic()
                    try:
                        figures += PIECES[name](place, urls, lengths, rival)
                    except Exception:  # one that breaks must not cost the others
                        failed.append(name)
                        traceback.print_exc(file=sys.stderr)
                    console.print(f"{name}: {time.monotonic() - began:.0f} s")
        except FileNotFoundError as error:
            console.print(f"Nothing can be measured: {error}")
            return 1
    show(figures, console)
    write(figures)
    console.print(f"Written to {RESULTS}")
    if failed:
        console.print(f"Not measured, because they broke: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
