"""When a target is checked: fixed slots on the wall clock, spread evenly by a stable hash.

Any worker, at any time, computes the same slots; nothing is stored to schedule a check.
"""

from __future__ import annotations

GRID_MS = 200
"""Slots lie on this grid, so that the checks of many targets share one waking-up of the worker: a process that wakes
for every single check spends more on waking than on checking. Five times a second is still even."""

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio
_MASK = (1 << 64) - 1


def slot_offset_ms(target_id: int, interval_ms: int) -> int:
    """Where in its interval a target's slots lie, 0 ≤ offset < interval, a multiple of ``GRID_MS``.

    Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): consecutive ids fall into the largest
    gaps left by those before, so that any number of targets is spread evenly and without bursts.
    """
    places = max(1, interval_ms // GRID_MS)
    return ((target_id * _GOLDEN & _MASK) * places >> 64) * GRID_MS


def next_slot_ms(target_id: int, interval_ms: int, after_ms: int) -> int:
    """The first slot later than ``after_ms`` (epoch ms)."""
    offset = slot_offset_ms(target_id, interval_ms)
    return (after_ms - offset) // interval_ms * interval_ms + interval_ms + offset
