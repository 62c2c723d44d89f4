"""Reports of one deployment, however they come."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.deployment import About, Deployment, Report, Status, after

NOW_MS = 1_800_000_000_000
ABOUT = About("checkout-api")
BEGAN = Report(Status.RUNNING, NOW_MS, None, ABOUT._replace(version="v1.42.0", by="ada"))
ENDED = Report(Status.SUCCEEDED, None, NOW_MS + 60_000, ABOUT._replace(url="https://ci.example/1"))
WHOLE = Deployment(
    Status.SUCCEEDED,
    NOW_MS,
    NOW_MS + 60_000,
    ABOUT._replace(environment="production", version="v1.42.0", by="ada", url="https://ci.example/1"),
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
    assert told(BEGAN, renamed).about == BEGAN.about._replace(
        environment="production", version="v1.42.1", tags=("checkout",)
    )


def test_where_it_goes_is_production_only_where_nobody_ever_said_another() -> None:
    staging = BEGAN._replace(about=BEGAN.about._replace(environment="staging"))
    assert told(staging, ENDED).about.environment == "staging"
    assert told(ENDED).about.environment == "production"


def test_what_says_nothing_of_how_it_stands_leaves_an_end_as_it_is() -> None:
    failed = ENDED._replace(status=Status.FAILED)
    notes = Report(None, None, None, ABOUT._replace(description="rolled back by hand"))
    found = told(BEGAN, failed, notes)
    assert (found.status, found.finished_ms) == (Status.FAILED, NOW_MS + 60_000)
    assert found.about.description == "rolled back by hand"
    assert (told(notes).status, told(BEGAN, notes).status) == (Status.SUCCEEDED, Status.SUCCEEDED)


def test_what_comes_late_says_nothing_against_what_is_known() -> None:
    late = BEGAN._replace(about=ABOUT._replace(version="v1.41", description="deploying"))
    found = told(ENDED._replace(about=ABOUT._replace(version="v1.42", by="ada")), late)
    assert found.about[2:5] == ("v1.42", "deploying", "ada")


MINUTE_MS = 60_000


@st.composite
def attempts(draw: st.DrawFn) -> list[Report]:
    """Of several attempts, one after the other, the beginning or the end or both, each with its time."""
    found: list[Report] = []
    at_ms = NOW_MS
    for number in range(draw(st.integers(1, 4))):
        began_ms = at_ms = at_ms + draw(st.integers(2, 60)) * MINUTE_MS
        about = ABOUT._replace(version=f"v{number}")
        is_told = draw(st.booleans())
        if is_told:
            found.append(Report(Status.RUNNING, began_ms, None, about))
        if draw(st.booleans()) or not is_told:
            at_ms += draw(st.integers(2, 60)) * MINUTE_MS
            status = draw(st.sampled_from([Status.SUCCEEDED, Status.FAILED, Status.CANCELED]))
            started_ms = None if is_told and draw(st.booleans()) else began_ms
            found.append(Report(status, started_ms, at_ms, about))
    return found


@given(attempts(), st.data())
def test_an_earlier_report_that_comes_again_changes_nothing(reports: list[Report], data: st.DataObject) -> None:
    once = told(*reports)
    assert once.about.version == reports[-1].about.version
    again: list[Report] = []
    for number, report in enumerate(reports):
        again.append(report)
        again += data.draw(st.lists(st.sampled_from(reports[: number + 1]), max_size=3))
    assert told(*again) == once


def test_no_deployment_ends_before_it_began() -> None:
    """Each was told by a machine with a clock of its own."""
    found = told(BEGAN, Report(Status.SUCCEEDED, None, NOW_MS - 3_000, ABOUT))
    assert (found.started_ms, found.finished_ms) == (NOW_MS - 3_000, NOW_MS - 3_000)
