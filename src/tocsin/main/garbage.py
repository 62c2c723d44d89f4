"""How often Python looks for garbage in a process that runs for years."""

from __future__ import annotations

import gc


def settle_down() -> None:
    """What was made at the start lives to the end: the collector need not walk it again and again, nor look for
    cycles after every few hundred objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()
