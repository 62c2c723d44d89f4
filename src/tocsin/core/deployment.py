"""Deployments: what was put where, and when. They have no verdict and yield none; they stand beside those."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class About(NamedTuple):
    """What is empty was not said. It concerns the targets and the machines it names, and those with any of its tags;
    where it names nothing, all of them."""

    service: str
    environment: str
    version: str = ""
    description: str = ""
    by: str = ""
    url: str = ""
    target_names: tuple[str, ...] = ()
    machine_names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class Report(NamedTuple):
    """What somebody says of a deployment. Times are epoch ms, None where none was said."""

    status: Status
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

    Reports come twice and in any order: that it is under way changes nothing of one that has ended, unless it says that
    it has begun since. What a report leaves out stays as it was.
    """
    if known is None:
        finished_ms = _end(report, now_ms)
        started_ms = next(at_ms for at_ms in (report.started_ms, finished_ms, now_ms) if at_ms is not None)
        return _in_order(Deployment(report.status, started_ms, finished_ms, report.about))
    about = About._make(said or before for said, before in zip(report.about, known.about, strict=True))
    started_ms = known.started_ms if report.started_ms is None else report.started_ms
    if report.status is Status.RUNNING and known.finished_ms is not None and started_ms <= known.finished_ms:
        return Deployment(known.status, min(started_ms, known.started_ms), known.finished_ms, about)
    # Said again, it has not ended again.
    ended_ms = known.finished_ms if report.status is known.status and known.finished_ms is not None else now_ms
    return _in_order(Deployment(report.status, started_ms, _end(report, ended_ms), about))


def _end(report: Report, otherwise_ms: int) -> int | None:
    if report.status is Status.RUNNING:
        return None
    return otherwise_ms if report.finished_ms is None else report.finished_ms


def _in_order(one: Deployment) -> Deployment:
    """Begin and end may have been told in reports of their own, by clocks that differ."""
    if one.finished_ms is None or one.started_ms <= one.finished_ms:
        return one
    return one._replace(started_ms=one.finished_ms)
