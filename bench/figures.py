"""Figures: what was measured, beside what was promised and what a peer did in the same run. Measures nothing itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).parent / "out" / "results.json"


class Figure(NamedTuple):
    """``peer_value`` is what ``peer`` reached in the same run, on the same core; None where there is no peer."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the peer's value; None without a peer."""
        return self.value / self.peer_value if self.peer_value else None


class Goal(NamedTuple):
    """What is aimed at. ``at_least``: more is better."""

    value: float
    at_least: bool

    def met_by(self, value: float) -> bool:
        return value >= self.value if self.at_least else value <= self.value


GOALS: Final[Mapping[str, Goal]] = {
    "http_engine_checks_per_s": Goal(10_000, at_least=True),
    "http_worker_checks_per_s": Goal(5_000, at_least=True),
    "http_path_checks_per_s": Goal(5_000, at_least=True),
    "cpu_ms_per_check": Goal(0.5, at_least=False),
    "start_lateness_p99_ms": Goal(5, at_least=False),
    "start_lateness_in_use_p99_ms": Goal(20, at_least=False),
    "start_lateness_10000_p99_ms": Goal(100, at_least=False),
    "restart_coverage_s": Goal(20, at_least=False),
    "ready_s": Goal(2, at_least=False),
    "idle_memory_mb": Goal(150, at_least=False),
    "storage_checks_per_s": Goal(200_000, at_least=True),
    "storage_bytes_per_check": Goal(110, at_least=False),
    "samples_ticks_per_s": Goal(100_000, at_least=True),
    "samples_bytes_per_fresh_point": Goal(6, at_least=False),
    "samples_bytes_per_sealed_point": Goal(2, at_least=False),
    "storage_bytes_per_packed_check": Goal(37, at_least=False),
    "list_with_summaries_ms": Goal(200, at_least=False),
    "target_page_ms": Goal(100, at_least=False),
    "edge_p99_ms": Goal(50, at_least=False),
}


def write(figures: Iterable[Figure], path: Path = RESULTS) -> None:
    rows = [{**figure._asdict(), "ratio": figure.ratio} for figure in figures]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"figures": rows}, indent=2) + "\n", "utf-8")


def show(figures: Iterable[Figure], console: Console) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("figure", "value", "unit", "aim", "peer", "peer's", "ratio"):
        left = heading in ("figure", "unit", "peer")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for figure in figures:
        goal = GOALS.get(figure.name)
        aim = "" if goal is None else f"{'≥' if goal.at_least else '≤'} {_number(goal.value)}"
        style = "" if goal is None else "green" if goal.met_by(figure.value) else "red"
        table.add_row(
            figure.name,
            f"[{style}]{_number(figure.value)}[/]" if style else _number(figure.value),
            figure.unit,
            aim,
            figure.peer or "",
            "" if figure.peer_value is None else _number(figure.peer_value),
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
        )
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
