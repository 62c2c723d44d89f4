"""Reports of one deployment, however they come."""

from __future__ import annotations

from itertools import permutations

import pytest

from tocsin.core.deployment import About, Deployment, Report, Status, after

NOW_MS = 1_800_000_000_000
ABOUT = About("checkout-api", "production")
BEGAN = Report(Status.RUNNING, NOW_MS, None, ABOUT._replace(version="v1.42.0", by="ada"))
ENDED = Report(Status.SUCCEEDED, None, NOW_MS + 60_000, ABOUT._replace(url="https://ci.example/1"))
WHOLE = Deployment(
    Status.SUCCEEDED,
    NOW_MS,
    NOW_MS + 60_000,
    ABOUT._replace(version="v1.42.0", by="ada", url="https://ci.example/1"),
)


def told(*reports: Report, now_ms: int = NOW_MS + 90_000) -> Deployment:
    """Each arrives a second after the one before."""
    known = None
    for number, report in enumerate(reports):
        known = after(known, report, now_ms=now_ms + number * 1000)
    assert known is not None
    return known


@pytest.mark.parametrize("reports", [*permutations([BEGAN, ENDED]), *permutations([BEGAN, BEGAN, ENDED, ENDED])])
def test_however_often_and_in_whichever_order_they_come(reports: tuple[Report, ...]) -> None:
    assert told(*reports) == WHOLE


@pytest.mark.parametrize(
    ("status", "times", "expected"),
    [
        (Status.RUNNING, (None, None), (NOW_MS, None)),
        (Status.RUNNING, (NOW_MS - 7, None), (NOW_MS - 7, None)),
        (Status.SUCCEEDED, (None, None), (NOW_MS, NOW_MS)),
        (Status.FAILED, (NOW_MS - 7, None), (NOW_MS - 7, NOW_MS)),
        (Status.CANCELED, (None, NOW_MS - 5), (NOW_MS - 5, NOW_MS - 5)),
        (Status.SUCCEEDED, (NOW_MS - 7, NOW_MS - 5), (NOW_MS - 7, NOW_MS - 5)),
    ],
)
def test_times_that_were_not_said(
    status: Status, times: tuple[int | None, int | None], expected: tuple[int, int | None]
) -> None:
    found = after(None, Report(status, *times, ABOUT), now_ms=NOW_MS)
    assert (found.started_ms, found.finished_ms) == expected


def test_an_end_without_a_time_said_again_is_the_same_end() -> None:
    ended = Report(Status.SUCCEEDED, None, None, ABOUT)
    assert told(BEGAN, ended, ended).finished_ms == NOW_MS + 91_000


def test_another_end_is_the_one_that_counts() -> None:
    found = told(BEGAN, ENDED, Report(Status.FAILED, None, None, ABOUT))
    assert (found.status, found.started_ms, found.finished_ms) == (Status.FAILED, NOW_MS, NOW_MS + 92_000)
    corrected = told(BEGAN, ENDED, ENDED._replace(finished_ms=NOW_MS + 61_000))
    assert corrected.finished_ms == NOW_MS + 61_000


def test_what_began_again_after_it_ended_runs() -> None:
    found = told(BEGAN, ENDED, BEGAN._replace(started_ms=NOW_MS + 70_000))
    assert (found.status, found.started_ms, found.finished_ms) == (Status.RUNNING, NOW_MS + 70_000, None)


def test_a_late_beginning_is_kept_and_what_came_with_it() -> None:
    found = told(Report(Status.SUCCEEDED, None, NOW_MS + 60_000, ABOUT), BEGAN)
    assert (found.status, found.started_ms, found.finished_ms) == (Status.SUCCEEDED, NOW_MS, NOW_MS + 60_000)
    assert (found.about.version, found.about.by) == ("v1.42.0", "ada")


def test_what_is_said_again_counts_and_what_is_left_out_stays() -> None:
    renamed = Report(Status.RUNNING, None, None, ABOUT._replace(version="v1.42.1", tags=("checkout",)))
    assert told(BEGAN, renamed).about == BEGAN.about._replace(version="v1.42.1", tags=("checkout",))


def test_no_deployment_ends_before_it_began() -> None:
    """Each was told by a machine with a clock of its own."""
    found = told(BEGAN, Report(Status.SUCCEEDED, None, NOW_MS - 3_000, ABOUT))
    assert (found.started_ms, found.finished_ms) == (NOW_MS - 3_000, NOW_MS - 3_000)
