"""``python wrong_clock.py SECONDS worker …``: runs ``tocsin worker …`` on a machine whose clock is ahead by so many
seconds (negative: behind). Nothing in the product knows of it: the system's own clock is another."""

from __future__ import annotations

import sys
import time


def main() -> int:
    ahead_ns = int(sys.argv[1]) * 1_000_000_000
    own_time_ns, own_time = time.time_ns, time.time
    time.time_ns = lambda: own_time_ns() + ahead_ns
    time.time = lambda: own_time() + ahead_ns / 1e9

    from tocsin.cli import main as tocsin

    return tocsin(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
