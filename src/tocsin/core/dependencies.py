"""Whether a target's trouble is told, or laid to a target that it cannot be up without. Pure.

A parent that is down takes its children with it: that is one piece of news, about the parent. A child may be noticed
first (its interval is another one), so its trouble waits, not long, until every ancestor has been looked at since. And
when a parent is well again its children are told of only if they are looked at since and still in trouble.

Knows no rule, no channel, no store and no clock; times are epoch milliseconds (UTC).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from tocsin.core.decide import State, Transition, Verdict, unsettled
from tocsin.core.outcome import REACHABLE
from tocsin.core.target import TARGET

LONGEST_WAIT_MS: Final = 120_000
"""Nobody hears of trouble later than this because a parent has not been looked at."""


class Period(NamedTuple):
    """A time in which a target was down and that is over."""

    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Stance:
    """How a target stands, and since when that has been known.

    ``looked_ms``: every location that measures it has looked at it then or later. ``settled``: nowhere does the newest
    look speak against the verdict. ``expected_ms`` belongs to a target that nobody probes, as a job that calls in: by
    then it is heard of again or found silent; None: silence says nothing. ``downs`` are its periods of being down, as
    far back as matters, oldest first.
    """

    id: int
    verdict: Verdict
    since_ms: int
    looked_ms: int
    settled: bool
    enabled: bool
    probed: bool
    expected_ms: int | None
    interval_ms: int
    timeout_ms: int
    downs: Sequence[Period] = ()

    @property
    def round_ms(self) -> int:
        """In this time it has been looked at again, and once more where the first look was not enough to be sure."""
        return 2 * self.interval_ms + self.timeout_ms if self.probed else LONGEST_WAIT_MS

    @property
    def patience_ms(self) -> int:
        """How long others wait for it to be looked at."""
        return min(self.round_ms, LONGEST_WAIT_MS)


def stance(
    target_id: int,
    headline: State,
    locations: Sequence[State],
    *,
    enabled: bool,
    probed: bool,
    interval_ms: int,
    timeout_ms: int,
    changes: Iterable[Transition] = (),
) -> Stance:
    """From what is held about a target: its headline, the states of its locations, and the changes of the headline,
    oldest first."""
    sources = locations if probed and locations else [headline]
    measuring = [state.last_at_ms for state in sources if state.verdict is not Verdict.UNKNOWN]
    return Stance(
        id=target_id,
        verdict=headline.verdict,
        since_ms=headline.since_ms,
        looked_ms=min(measuring) if measuring else max(state.last_at_ms for state in sources),
        settled=not any(unsettled(state) for state in sources),
        enabled=enabled,
        probed=probed,
        expected_ms=None if probed else headline.due_ms,
        interval_ms=interval_ms,
        timeout_ms=timeout_ms,
        downs=tuple(_downs(changes)),
    )


def _downs(changes: Iterable[Transition]) -> Iterator[Period]:
    """One that began before the first of the changes is taken to have begun at any time before."""
    from_ms = 0
    for change in changes:
        if change.before is Verdict.DOWN:
            yield Period(from_ms, change.at_ms)
        if change.after is Verdict.DOWN:
            from_ms = change.at_ms


def may_be_laid_to_others(change: Transition) -> bool:
    """Whether a change is of the kind that an ancestor's being down explains. A certificate runs out by itself, and
    only targets have ancestors."""
    return (
        change.key.subject.kind == TARGET
        and change.key.rule == REACHABLE
        and change.after in (Verdict.DOWN, Verdict.DEGRADED)
    )


class Trouble(NamedTuple):
    """A change to down or degraded that has not been told yet. ``ended_ms`` is when the next change came, None while
    there is none."""

    before: Verdict
    began_ms: int
    recorded_ms: int
    ended_ms: int | None = None


class Telling(StrEnum):
    TELL = "tell"
    WAIT = "wait"
    """Not known yet; it will be, or the wait will end."""
    HOLD = "hold"
    """An ancestor is down."""
    DROP = "drop"
    """It is over, and an ancestor was down meanwhile."""


class Judgement(NamedTuple):
    """``because_of`` is the ancestor that is waited for, is down, or was down; None where it is told."""

    telling: Telling
    because_of: int | None = None

    @property
    def waits_for(self) -> int | None:
        """The ancestor because of which it is held back for now; None: it is not."""
        return self.because_of if self.telling in (Telling.WAIT, Telling.HOLD) else None


TELL: Final = Judgement(Telling.TELL)


def judge(trouble: Trouble, target: Stance | None, ancestors: Iterable[Stance], now_ms: int) -> Judgement:
    """What becomes of a target's trouble. How the target itself stands matters only where an ancestor was down lately
    (has ``downs``); None where it does not, and of a target that is gone.

    1. While an ancestor is down it is held. Trouble that is over and fell into a time in which an ancestor was down is
       dropped.
    2. After an ancestor was down it waits until the target itself has been looked at since; at most for a round of
       the target's.
    3. It waits until every ancestor has been looked at since the trouble began and is settled; at most for the
       ancestor's ``patience_ms`` after the trouble was noticed.
    4. Otherwise it is told.

    A paused or unknown ancestor holds nothing. One that is unknown is waited for where the target's own trouble came
    out of the unknown, as when the only worker has just started.
    """
    above = sorted(ancestors, key=lambda ancestor: (ancestor.since_ms, ancestor.id))
    for ancestor in above:
        if _explains(ancestor, trouble):
            return Judgement(Telling.HOLD if trouble.ended_ms is None else Telling.DROP, ancestor.id)
    for ancestor in above:
        open_yet = trouble.ended_ms is None and target is not None and _look_again(ancestor, target, now_ms)
        if open_yet or _look_first(ancestor, trouble, now_ms):
            return Judgement(Telling.WAIT, ancestor.id)
    return TELL


def _explains(ancestor: Stance, trouble: Trouble) -> bool:
    is_down = ancestor.verdict is Verdict.DOWN
    if trouble.ended_ms is None:
        return is_down
    return (is_down and ancestor.since_ms <= trouble.ended_ms) or any(
        period.from_ms <= trouble.ended_ms and trouble.began_ms < _passable_ms(ancestor, period)
        for period in ancestor.downs
    )


def _look_again(ancestor: Stance, target: Stance, now_ms: int) -> bool:
    """Whether the target has not been looked at since the ancestor was last down. A clock that was set back waits for
    nothing."""
    if not ancestor.downs:
        return False
    period = ancestor.downs[-1]
    passable_ms = _passable_ms(ancestor, period)
    return (target.looked_ms <= passable_ms or not target.settled) and (
        period.until_ms <= now_ms < passable_ms + target.round_ms
    )


def _passable_ms(ancestor: Stance, period: Period) -> int:
    """From when on looks at others pass it: the look that found it well again began at the end of the period and may
    have taken up to its timeout."""
    return period.until_ms + ancestor.timeout_ms


def _look_first(ancestor: Stance, trouble: Trouble, now_ms: int) -> bool:
    """Whether the ancestor may yet turn out to be the cause."""
    until_ms = trouble.recorded_ms + ancestor.patience_ms
    if not ancestor.enabled or not trouble.recorded_ms <= now_ms < until_ms:
        return False
    if not ancestor.settled:
        return True
    if not ancestor.probed:
        tells = ancestor.expected_ms is not None and ancestor.expected_ms < until_ms
    else:
        tells = ancestor.verdict is not Verdict.UNKNOWN or trouble.before is Verdict.UNKNOWN
    return tells and ancestor.looked_ms <= trouble.began_ms
