"""What makes sense at all: of a machine that introduces itself, of a layout, of a value."""

from __future__ import annotations

import unicodedata
from typing import Final

from tocsin.core.samples import Layout, Series
from tocsin.intake.arrived import Introduced, Refused

AHEAD_MS: Final = 3_600_000
"""A tick from further in the future than this was dated by a clock that is of no use."""
OLDEST_MS: Final = 366 * 86_400_000
DAY_MS: Final = 86_400_000
LONGEST_EVERY_MS: Final = DAY_MS
MOST_SERIES: Final = 5000
"""In a layout."""
MOST_SERIES_OF_MACHINE: Final = 20_000
"""In a day, of one machine."""
LARGEST: Final = 3.4e38
"""A gauge is stored as float32; more than this would be infinite."""
LARGEST_COUNT: Final = 1e30
LONGEST_NAME: Final = 200
LONGEST_TAG: Final = 60
MOST_TAGS: Final = 50
MOST_FACTS: Final = 100
LONGEST_FACT: Final = 1000
MOST_ATTRIBUTES: Final = 32
_HIDDEN: Final = frozenset({"Cc", "Zl", "Zp", "Cs"})
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(text: str, longest: int) -> str:
    """One line, without what cannot be seen or turns round what is beside it; cut to ``longest``."""
    if not text.isascii() or not text.isprintable():
        text = "".join(one for one in text if unicodedata.category(one) not in _HIDDEN and one not in _REORDERING)
    return text.strip()[:longest]


def cleaned(said: Introduced) -> Introduced:
    """Who reports, as it is kept. Raises Refused where there is no way to tell who."""
    uid = plain(said.uid, LONGEST_NAME + 1)
    if not 1 <= len(uid) <= LONGEST_NAME or uid != said.uid:
        raise Refused("hello.machine_id", f"must have 1 to {LONGEST_NAME} visible characters and no space around them")
    if not 0 <= said.every_ms <= LONGEST_EVERY_MS:
        raise Refused("hello.every_ms", f"must be at most {LONGEST_EVERY_MS}")
    facts = {
        name: plain(value, LONGEST_FACT)
        for given, value in list(said.facts.items())[:MOST_FACTS]
        if (name := plain(given, 100))
    }
    tags = dict.fromkeys(tag for given in said.tags if (tag := plain(given, LONGEST_TAG)))
    return Introduced(
        uid,
        said.boot_id,
        plain(said.name, LONGEST_NAME) or uid,
        plain(said.version, 100),
        said.every_ms,
        facts,
        list(tags)[:MOST_TAGS],
    )


def check_layout(layout: Layout) -> None:
    if not 1 <= len(layout) <= MOST_SERIES:
        raise Refused("layout.series", f"must be 1 to {MOST_SERIES:,}; these are {len(layout):,}")
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for place, one in enumerate(layout):
        where = f"layout.series[{place}]"
        if not 1 <= len(one.name) <= 255 or plain(one.name, 255) != one.name:
            raise Refused(f"{where}.name", "must have 1 to 255 visible characters")
        if len(one.attributes) > MOST_ATTRIBUTES:
            raise Refused(f"{where}.attributes", f"must be at most {MOST_ATTRIBUTES}")
        for name, value in one.attributes:
            if not name or len(name) > 255 or len(value) > 1024:
                raise Refused(
                    f"{where}.attributes", "must have names of up to 255 and values of up to 1,024 characters"
                )
        if len(one.unit) > 63:
            raise Refused(f"{where}.unit", "must have at most 63 characters")
        if (one.name, one.attributes) in seen:
            raise Refused(where, f"{one.label} comes twice")
        seen.add((one.name, one.attributes))


def range_of(one: Series) -> tuple[float, float]:
    """What a series can be at all."""
    if one.kind == "counter":
        return 0.0, LARGEST_COUNT
    if one.unit == "Cel":
        return -273.15, 10_000.0
    if (one.name.startswith("system.") and one.unit in ("By", "s", "1", "")) or one.unit.startswith("{"):
        return (0.0, LARGEST) if one.name.startswith("system.") else (-LARGEST, LARGEST)
    return -LARGEST, LARGEST
