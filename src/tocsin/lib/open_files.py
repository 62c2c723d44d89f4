"""How many files and connections this process may have open."""

from __future__ import annotations

import resource
from typing import Final

_ENOUGH: Final = 1_048_576
"""Where the system sets no bound."""


def most_open_files() -> int:
    """Raised to what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
