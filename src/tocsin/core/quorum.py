"""From what each location found to the one verdict of a target. Pure; the pipeline brings the votes.

The verdict is the *n*-th worst of the locations that measure, where n is how many the quorum asks for. So a target is
down when n of them find it down, degraded when n find it degraded or worse, and otherwise up. A location that
measures nothing has no vote; where none has, the verdict is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tocsin.core.decide import Quorum, State, Transition, Verdict
from tocsin.core.outcome import StateKey

_BADNESS: Final = {Verdict.UP: 0, Verdict.DEGRADED: 1, Verdict.DOWN: 2}


class Vote(NamedTuple):
    """How one location stands."""

    location_id: int
    verdict: Verdict
    since_ms: int
    reason: str
    last_at_ms: int
    last_latency_us: int | None

    @classmethod
    def of(cls, location_id: int, state: State) -> Vote:
        return cls(location_id, state.verdict, state.since_ms, state.reason, state.last_at_ms, state.last_latency_us)


def needed(quorum: Quorum, voters: int) -> int:
    """How many of ``voters`` (at least 1) must agree."""
    match quorum:
        case "any":
            return 1
        case "majority":
            return voters // 2 + 1
        case "all":
            return voters
        case number:
            return max(1, min(number, voters))


def agreed(verdicts: Iterable[Verdict], quorum: Quorum) -> Verdict:
    """What so many locations agree on."""
    worst_first = sorted((one for one in verdicts if one is not Verdict.UNKNOWN), key=_badness, reverse=True)
    return worst_first[needed(quorum, len(worst_first)) - 1] if worst_first else Verdict.UNKNOWN


def combine(
    key: StateKey, head: State, votes: Iterable[Vote], quorum: Quorum, now_ms: int, cause: Transition | None = None
) -> tuple[State, list[Transition]]:
    """The target's state (``key`` is that of its headline) after its locations vote anew.

    ``cause`` is the location's change of verdict that made them vote, if there was one: the check that settled it
    settles the headline, and the change is dated to when enough locations had found it so. Where a location began or
    ceased to measure, that is not before it did; without a cause (another quorum) it is now. It is never before the
    verdict it replaces.
    """
    if head.held:
        return head, []
    everyone = list(votes)
    voters = sorted((vote for vote in everyone if vote.verdict is not Verdict.UNKNOWN), key=_worst_first)
    newest = max(everyone, key=lambda vote: vote.last_at_ms, default=None)
    settled = agreed([vote.verdict for vote in voters], quorum)
    if voters:
        reason = _in_words(voters, settled)
        reached_ms = _reached_ms(
            voters, settled, needed(quorum, len(voters)), improved=_is_better(settled, head.verdict)
        )
    else:
        reason = NOWHERE if newest is None else newest.reason
        reached_ms = max((vote.since_ms for vote in everyone), default=now_ms)
    after = head._replace(verdict=settled, reason=reason)
    if newest is not None:
        after = after._replace(last_at_ms=newest.last_at_ms, last_latency_us=newest.last_latency_us)
    if settled is head.verdict:
        return after, []
    if cause is None:
        since_ms = max(now_ms, head.since_ms)
        change = Transition(key, head.verdict, settled, since_ms, since_ms, reason)
    else:
        turned = Verdict.UNKNOWN in (cause.before, cause.after)
        since_ms = max(reached_ms, head.since_ms, cause.at_ms if turned else 0)
        place = cause.check_location_id
        change = Transition(key, head.verdict, settled, since_ms, cause.check_at_ms, reason, place)
    return after._replace(since_ms=since_ms), [change]


NOWHERE: Final = "no location measures it"


def _badness(verdict: Verdict) -> int:
    return _BADNESS[verdict]


def _worst_first(vote: Vote) -> tuple[int, int]:
    return -_BADNESS[vote.verdict], vote.since_ms


def _is_better(one: Verdict, other: Verdict) -> bool:
    return other is not Verdict.UNKNOWN and _BADNESS[one] < _BADNESS[other]


def _reached_ms(voters: Sequence[Vote], settled: Verdict, enough: int, *, improved: bool) -> int:
    """When the present verdict had its quorum: as many at least that bad; or, on the way up, as many at least that good
    that too few are left for anything worse."""
    badness = _BADNESS[settled]
    if improved:
        agreeing, wanted = [vote for vote in voters if _BADNESS[vote.verdict] <= badness], len(voters) - enough + 1
    else:
        agreeing, wanted = [vote for vote in voters if _BADNESS[vote.verdict] >= badness], enough
    return sorted(vote.since_ms for vote in agreeing)[wanted - 1]


def _in_words(voters: Sequence[Vote], settled: Verdict) -> str:
    """The reason of the location that found it first; where there are several, from how many of them it is at least
    that bad."""
    reason = next((vote.reason for vote in voters if vote.verdict is settled and vote.reason), "")
    if len(voters) == 1 or settled is Verdict.UP:
        return reason
    as_bad = sum(_BADNESS[vote.verdict] >= _BADNESS[settled] for vote in voters)
    return f"{reason or settled.value}, from {as_bad} of {len(voters)} locations"
