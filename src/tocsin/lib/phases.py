"""Where the time of one exchange went. Knows no protocol."""

from __future__ import annotations

from typing import NamedTuple


class Phases(NamedTuple):
    """Each phase's own duration in microseconds; None for a phase that did not happen."""

    dns_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us: int | None = None
    transfer_us: int | None = None


NO_PHASES = Phases()
