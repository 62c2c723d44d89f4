"""Chooses engines, starts services in a written order, and stops them in reverse. Nothing else does either.

This is the table of roles: what a process can be. ``tocsin up`` is all of them in one process; each is a process of
its own as ``tocsin <role>``. A role's module is loaded only where it is started, so that a process that probes holds
no web framework. Adding a role is a module and a line.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Role(NamedTuple):
    module: str
    """Its ``start(house, ends)`` is an asynchronous context manager; the role is at work from entering to leaving."""
    stop_s: float
    """The most it takes to stop."""
    help: str
    serves_web: bool = False
    """It answers on the web server's port; the others, when asked to, on one for health and metrics only."""


ROLES: Final[dict[str, Role]] = {
    "keeper": Role("tocsin.main.keeper", 0.4, "Start a keeper: rollups, retention. Of several one is active."),
    "alerts": Role("tocsin.main.alerts", 1.4, "Start what tells people: messages, reminders, and the silence sweep."),
    "api": Role("tocsin.main.api", 1.2, "Start the web app and the API.", serves_web=True),
    # After what it may probe, and gone before it, so that it never finds this Tocsin's own address dead.
    "worker": Role("tocsin.main.worker", 5.1, "Start a worker: it probes its share of the targets."),
    "aggregator": Role(
        "tocsin.main.aggregator", 0.7, "Start the door for collectors, OpenTelemetry and workers far away."
    ),
}
"""In the order in which they are started; they are stopped in reverse."""
