"""Deployments: what was put where, and when. They have no verdict and yield none; they stand beside those."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

PRODUCTION: Final = "production"
"""Where to, unless it is said."""
SKEW_MS: Final = 60_000
"""How much the clocks of those who tell of one deployment may differ."""


class Status(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class About(NamedTuple):
    """What is empty was not said. It concerns the targets and the machines it names, and those with any of its tags;
    where it names nothing, all of them."""

    service: str
    environment: str = ""
    version: str = ""
    description: str = ""
    by: str = ""
    url: str = ""
    target_names: tuple[str, ...] = ()
    machine_names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def over(self, other: About) -> About:
        """This, and what it leaves out as the other says it."""
        return About._make(mine or theirs for mine, theirs in zip(self, other, strict=True))


class Report(NamedTuple):
    """What somebody says of a deployment. Times are epoch ms; None where a time or how it stands was not said."""

    status: Status | None
    started_ms: int | None
    finished_ms: int | None
    about: About


class Deployment(NamedTuple):
    """What is known of one. ``finished_ms`` is None while it is under way, and only then."""

    status: Status
    started_ms: int
    finished_ms: int | None
    about: About


def after(known: Deployment | None, report: Report, *, now_ms: int) -> Deployment:
    """What is known once ``report`` has come, at ``now_ms``.

    Reports come twice and in any order, and there may be several attempts under one name. By the times they tell they
    are put in order: what is of an earlier moment than what is known only fills in what nobody has said yet. A report
    that does not say how it stands is of a success, unless an end is known already.
    """
    if known is None:
        return _first(report, now_ms)
    if known.finished_ms is None:
        return _while_running(known, report, now_ms)
    return _once_ended(known, known.finished_ms, report, now_ms)


def _first(report: Report, now_ms: int) -> Deployment:
    status = report.status or Status.SUCCEEDED
    finished_ms = None if status is Status.RUNNING else _or(report.finished_ms, now_ms)
    started_ms = _or(report.started_ms, _or(finished_ms, now_ms))
    return _in_order(Deployment(status, started_ms, finished_ms, report.about.over(About("", PRODUCTION))))


def _while_running(known: Deployment, report: Report, now_ms: int) -> Deployment:
    status = report.status or Status.SUCCEEDED
    earlier_ms = known.started_ms - SKEW_MS
    if _or(report.started_ms, known.started_ms) < earlier_ms or _or(report.finished_ms, now_ms) < earlier_ms:
        return _filled_in(known, report)
    finished_ms = None if status is Status.RUNNING else _or(report.finished_ms, now_ms)
    return _in_order(
        Deployment(status, _or(report.started_ms, known.started_ms), finished_ms, report.about.over(known.about))
    )


def _once_ended(known: Deployment, ended_ms: int, report: Report, now_ms: int) -> Deployment:
    status = report.status or known.status
    about = report.about.over(known.about)
    if report.started_ms is not None and report.started_ms > ended_ms:  # another attempt
        finished_ms = None if status is Status.RUNNING else _or(report.finished_ms, now_ms)
        return _in_order(Deployment(status, report.started_ms, finished_ms, about))
    if status is Status.RUNNING:
        return _filled_in(known, report)
    # Said again, it has not ended again.
    finished_ms = _or(report.finished_ms, ended_ms if status is known.status else now_ms)
    if finished_ms < ended_ms:
        return _filled_in(known, report)
    return _in_order(Deployment(status, _or(report.started_ms, known.started_ms), finished_ms, about))


def _filled_in(known: Deployment, report: Report) -> Deployment:
    """``report`` is of an earlier moment. That it began when it ended was only for want of a better."""
    started_ms = known.started_ms
    if known.started_ms == known.finished_ms and report.started_ms is not None:
        started_ms = min(started_ms, report.started_ms)
    return known._replace(started_ms=started_ms, about=known.about.over(report.about))


def _or(said_ms: int | None, otherwise_ms: int) -> int:
    return otherwise_ms if said_ms is None else said_ms


def _in_order(one: Deployment) -> Deployment:
    """Begin and end may have been told by clocks that differ."""
    if one.finished_ms is None or one.started_ms <= one.finished_ms:
        return one
    return one._replace(started_ms=one.finished_ms)
