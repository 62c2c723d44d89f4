"""Who is told what, when, and in which words. Pure: transitions and what was said before come in, decisions go out.

Knows no channel, no store and no clock; times are epoch milliseconds (UTC). The story, as the alerts service tells it:

1. ``notices_for`` turns one transition into what each rule has to say on each channel.
2. ``is_ripe`` says when a channel's waiting notices are put into one message; ``compose`` writes it.
3. ``next_attempt_ms`` says when a message that did not go out is tried again.
4. ``reminders`` says what is told again because it lasts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from tocsin.core.bands import CPU, DISK, FORECAST, MEMORY, REPORTING
from tocsin.core.decide import Transition, Verdict
from tocsin.core.outcome import CERTIFICATE, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET


class Event(StrEnum):
    """What a notice is about."""

    DOWN = "down"
    RECOVERED = "recovered"
    DEGRADED = "degraded"
    CERTIFICATE = "certificate"
    """A certificate expires soon."""
    REMINDER = "reminder"
    """It is still down."""


CHOOSABLE = (Event.DOWN, Event.RECOVERED, Event.DEGRADED, Event.CERTIFICATE)
"""The events a rule can name; reminders are switched on by ``Rule.reminder_s``."""

DEFAULT_EVENTS = (Event.DOWN, Event.RECOVERED, Event.CERTIFICATE)

SIGNS: Mapping[Verdict, str] = {Verdict.UP: "●", Verdict.DEGRADED: "◐", Verdict.DOWN: "■", Verdict.UNKNOWN: "○"}
"""The signs that stand beside a verdict's colour everywhere."""


@dataclass(frozen=True, slots=True)
class AlertTiming:
    """The numbers of alerting, in one place so that a test can make them small."""

    group_wait_ms: int = 10_000
    """A message is written when its channel had nothing new for this long …"""
    group_max_ms: int = 60_000
    """… and at the latest this long after the first notice."""
    retry_delays_ms: tuple[int, ...] = (
        5_000,
        15_000,
        30_000,
        60_000,
        120_000,
        300_000,
        600_000,
        1_800_000,
        3_600_000,
    )
    """Pause after the first, second … failed attempt; the last one repeats."""
    retry_jitter: float = 0.2
    """A pause is longer by up to this share, so that messages that failed together do not return together."""
    retry_after_max_ms: int = 86_400_000
    """The longest pause the other side may ask for."""
    give_up_after_ms: int = 3 * 86_400_000
    """A message this old is abandoned when another attempt fails."""
    patience_attempts: int = 6
    """A channel's messages go out in order until one has failed this often; later ones then stop waiting for it."""
    claim_ms: int = 60_000
    """How long a sender may keep a message before another takes it over. Longer than ``send_deadline_s``."""
    send_deadline_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Rule:
    """Which events of which targets and machines are told on which channels.

    ``target_ids``, ``machine_ids`` and ``tags`` all empty: every one; otherwise one matches by its id or by any tag.
    ``channel_ids`` empty: every channel, which only the default rule may say. Rules add up: a channel is told what any
    rule tells it, once.
    """

    id: int
    name: str
    enabled: bool
    is_default: bool
    target_ids: tuple[int, ...]
    machine_ids: tuple[int, ...]
    tags: tuple[str, ...]
    events: tuple[Event, ...]
    channel_ids: tuple[int, ...]
    reminder_s: int | None

    def matches(self, subject: Subject, tags: Iterable[str]) -> bool:
        if not self.target_ids and not self.machine_ids and not self.tags:
            return True
        named = {TARGET: self.target_ids, MACHINE: self.machine_ids}
        return subject.id in named.get(subject.kind, ()) or not set(self.tags).isdisjoint(tags)

    def channels(self, enabled_channel_ids: Sequence[int]) -> list[int]:
        if self.is_default and not self.channel_ids:
            return list(enabled_channel_ids)
        return [channel_id for channel_id in enabled_channel_ids if channel_id in self.channel_ids]


class Recorded(NamedTuple):
    """A transition as the store holds it."""

    id: int
    transition: Transition


class Notice(NamedTuple):
    """What one rule has to say on one channel about one transition."""

    rule_id: int
    channel_id: int
    transition_id: int
    event: Event


class Said(NamedTuple):
    """A notice made before whose message was not refused or abandoned. ``delivered``: the message has arrived."""

    notice: Notice
    created_ms: int
    delivered: bool


class Standing(NamedTuple):
    """The last verdict that said something (not unknown), and the transitions since it began.

    An intermediate unknown neither ends it nor begins it anew: down, unknown, down is one outage.
    """

    verdict: Verdict
    since_ms: int
    reason: str
    transition_ids: frozenset[int]


NOTHING_KNOWN = Standing(Verdict.UNKNOWN, 0, "", frozenset())


def standing(past: Iterable[Recorded]) -> Standing:
    """Where the transitions of one state, oldest first, have led."""
    result = NOTHING_KNOWN
    for transition_id, transition in past:
        if transition.after is Verdict.UNKNOWN:
            continue
        if transition.after is result.verdict:
            result = result._replace(
                reason=transition.reason or result.reason, transition_ids=result.transition_ids | {transition_id}
            )
        else:
            result = Standing(transition.after, transition.at_ms, transition.reason, frozenset({transition_id}))
    return result


# ── 1. who is told ────────────────────────────────────────────────────────────────────────────────────


def notices_for(
    new: Recorded,
    past: Sequence[Recorded],
    *,
    tags: Iterable[str],
    said: Iterable[Said],
    rules: Iterable[Rule],
    channel_ids: Sequence[int],
) -> list[Notice]:
    """What a new transition gives to tell.

    ``past`` holds the earlier transitions of the same state, oldest first, at least those since it was last up;
    ``tags`` are its subject's; ``said`` are the notices made about them; ``channel_ids`` the channels that are on.

    - To unknown says nothing.
    - To down, or to degraded, is told on every channel of every matching rule that names the event, unless the channel
      knows already: an outage that was interrupted by unknown is told once.
    - Better than before is ``recovered``, and goes exactly where the trouble went, whatever the rule matches by now.
      From down to degraded is a recovery too; where the down was not told it is news of a degraded target instead.
    """
    transition = new.transition
    by_id = {rule.id: rule for rule in rules if rule.enabled}
    open_channels = set(channel_ids)
    words = _last_words(past, said)
    before = standing(past)

    def recoveries(ended: frozenset[Event]) -> list[Notice]:
        return [
            Notice(rule_id, channel_id, new.id, Event.RECOVERED)
            for (rule_id, channel_id), word in sorted(words.items())
            if channel_id in open_channels
            and (rule := by_id.get(rule_id)) is not None
            and Event.RECOVERED in rule.events
            and word.trouble(rule) in ended
        ]

    event = _trouble(transition)
    if event is None:
        return recoveries(_TROUBLE) if transition.after is Verdict.UP else []

    knowing: set[int] = set()
    if before.verdict is transition.after:
        knowing = {
            said_before.notice.channel_id
            for said_before in said
            if said_before.notice.transition_id in before.transition_ids
        }
    improved = before.verdict is Verdict.DOWN and transition.after is Verdict.DEGRADED
    notices = recoveries(frozenset({Event.DOWN})) if improved else []
    told = {(notice.rule_id, notice.channel_id) for notice in notices}
    for rule in by_id.values():
        if event in rule.events and rule.matches(transition.key.subject, tags):
            notices += [
                Notice(rule.id, channel_id, new.id, event)
                for channel_id in rule.channels(channel_ids)
                if channel_id not in knowing and (rule.id, channel_id) not in told
            ]
    return notices


_TROUBLE = frozenset({Event.DOWN, Event.DEGRADED, Event.CERTIFICATE})


def _trouble(transition: Transition) -> Event | None:
    match transition.after:
        case Verdict.DOWN:
            return Event.DOWN
        case Verdict.DEGRADED:
            return Event.CERTIFICATE if transition.key.rule == CERTIFICATE else Event.DEGRADED
    return None


class _Word(NamedTuple):
    """The last thing a rule said on a channel, and the verdict it said it about."""

    event: Event
    verdict: Verdict

    def trouble(self, rule: Rule) -> Event | None:
        """What the channel still believes to be wrong."""
        if self.event is not Event.RECOVERED:
            return self.event
        # "Recovered, but degraded" leaves trouble only for those who asked to hear of degraded.
        return Event.DEGRADED if self.verdict is Verdict.DEGRADED and Event.DEGRADED in rule.events else None


def _last_words(past: Sequence[Recorded], said: Iterable[Said]) -> dict[tuple[int, int], _Word]:
    after = {transition_id: transition.after for transition_id, transition in past}
    words: dict[tuple[int, int], _Word] = {}
    spoken = (word.notice for word in said if word.notice.transition_id in after)
    for notice in sorted(spoken, key=lambda notice: notice.transition_id):
        if notice.event is not Event.REMINDER:
            words[notice.rule_id, notice.channel_id] = _Word(notice.event, after[notice.transition_id])
    return words


# ── 2. one message ────────────────────────────────────────────────────────────────────────────────────


def is_ripe(*, first_ms: int, last_ms: int, now_ms: int, timing: AlertTiming) -> bool:
    """Whether notices that wait since ``first_ms``, the newest since ``last_ms``, are put into a message now.

    A clock that was set back makes them ripe: better early than never.
    """
    if now_ms < first_ms:
        return True
    return now_ms - last_ms >= timing.group_wait_ms or now_ms - first_ms >= timing.group_max_ms


class News(NamedTuple):
    """A waiting notice with what is needed to word it. ``before``: where the state stood when it happened.
    ``name`` is its subject's; ``dependents_down``: how many targets that depend on it are down now."""

    event: Event
    recorded: Recorded
    before: Standing
    name: str
    dependents_down: int = 0

    @property
    def state(self) -> tuple[Subject, str]:
        return self.recorded.transition.key.subject, self.recorded.transition.key.rule


@dataclass(frozen=True, slots=True)
class MessageItem:
    """What a message says about one state of a target or a machine, the ``subject``, which is called ``name``.

    ``since_ms`` is when the trouble began. ``duration_ms`` is how long it lasted, or has lasted when the message was
    written. ``was`` is the verdict of a trouble that is over, ``verdict`` the present one. ``passing``: it began and
    ended before anybody was told. ``times`` is above 1 when it came and went more than once in this message.
    ``dependents_down`` counts the targets that depend on it and are down too, while it is down.
    """

    event: Event
    rule: str
    subject: Subject
    name: str
    verdict: Verdict
    was: Verdict
    since_ms: int
    duration_ms: int
    reason: str
    url: str
    passing: bool = False
    times: int = 1
    dependents_down: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel sends. ``items`` are worst first and at most ``MOST_ITEMS``; ``omitted`` counts the others.

    ``delivery_key`` is the same in every attempt, so that a receiver can tell a repetition. ``recovered``: it brings
    good news only.
    """

    title: str
    text: str
    items: tuple[MessageItem, ...]
    delivery_key: str
    created_ms: int
    recovered: bool
    omitted: int = 0


MOST_ITEMS = 500
MOST_LINES = 20
_LONGEST_REASON = 500
_LONGEST_REASON_IN_LIST = 120
_LONGEST_NAME = 120


def compose(news: Sequence[News], *, link_base: str, delivery_key: str, now_ms: int) -> Message:
    """One message of everything that waits for a channel (at least one piece). Each state is in it once."""
    ordered = sorted(news, key=lambda piece: (piece.state, piece.recorded.id))
    items = [_item(list(pieces), link_base, now_ms) for _, pieces in groupby(ordered, key=lambda piece: piece.state)]
    items.sort(key=_urgency)
    if len(items) == 1:
        title, text = _title_of_one(items[0]), _text_of_one(items[0], now_ms)
    else:
        title, text = _title_of_many(items), _text_of_many(items, link_base, now_ms)
    return Message(
        title=title,
        text=text,
        items=tuple(items[:MOST_ITEMS]),
        delivery_key=delivery_key,
        created_ms=now_ms,
        recovered=all(item.event is Event.RECOVERED for item in items),
        omitted=max(len(items) - MOST_ITEMS, 0),
    )


def _item(pieces: list[News], link_base: str, now_ms: int) -> MessageItem:
    """One item of all that happened to one state, oldest first."""
    last = pieces[-1]
    # Two rules may put the same transition differently; "recovered" says more than "degraded", "down" than a reminder.
    for other in pieces:
        if other.recorded.id == last.recorded.id and other.event in (Event.RECOVERED, Event.DOWN):
            last = other
    began: dict[int, News] = {}
    ended: dict[int, News] = {}
    for piece in pieces:
        if piece.event is Event.RECOVERED:
            ended[piece.recorded.id] = piece
        elif piece.event is not Event.REMINDER:
            began[piece.recorded.id] = piece
    transition = last.recorded.transition
    if last.event is Event.RECOVERED:
        was = Verdict.DOWN if any(p.before.verdict is Verdict.DOWN for p in ended.values()) else last.before.verdict
        over = [piece for piece in ended.values() if piece.before.verdict is was]
        since_ms = over[-1].before.since_ms
        duration_ms = sum(p.recorded.transition.at_ms - p.before.since_ms for p in over)
        reason, times = over[-1].before.reason, len(over)
    else:
        was = transition.after
        since_ms = last.before.since_ms if last.before.verdict is was else transition.at_ms
        duration_ms = now_ms - since_ms
        reason = transition.reason
        times = sum(piece.recorded.transition.after is was for piece in began.values())
    return MessageItem(
        event=last.event,
        rule=transition.key.rule,
        subject=transition.key.subject,
        name=one_line(last.name, _LONGEST_NAME),
        verdict=transition.after,
        was=was,
        since_ms=since_ms,
        duration_ms=max(duration_ms, 0),
        reason=one_line(reason, _LONGEST_REASON),
        url=f"{link_base}/{transition.key.subject.kind}s/{transition.key.subject.id}",
        passing=last.event is Event.RECOVERED
        and transition.after is Verdict.UP
        and bool(began)
        and min(began) < min(ended),
        times=max(times, 1),
        dependents_down=last.dependents_down if transition.after is Verdict.DOWN else 0,
    )


_ORDER = (Event.DOWN, Event.REMINDER, Event.DEGRADED, Event.CERTIFICATE, Event.RECOVERED)


def _urgency(item: MessageItem) -> tuple[int, bool, int, str, Subject, str]:
    return _ORDER.index(item.event), item.passing, item.since_ms, item.name, item.subject, item.rule


class _Part(NamedTuple):
    """How people speak of what a rule of a machine is about. ``name`` "": of the machine itself."""

    name: str
    degraded: str
    down: str
    fine: str = "fine again"

    def word(self, verdict: Verdict) -> str:
        return {Verdict.DEGRADED: self.degraded, Verdict.DOWN: self.down, Verdict.UP: self.fine}.get(verdict, verdict)


_PARTS: Mapping[tuple[str, str], _Part] = {
    (MACHINE, REPORTING): _Part("", "late", "silent", "back"),
    (MACHINE, CPU): _Part("CPU", "high", "critical"),
    (MACHINE, MEMORY): _Part("memory", "high", "critical"),
    (MACHINE, DISK): _Part("disk", "high", "critical"),
    (MACHINE, FORECAST): _Part("disk space", "short", "critical"),
}
"""By kind of subject and rule."""


def _part(item: MessageItem) -> _Part | None:
    """None: it is about the whole, in the words of its verdict."""
    return _PARTS.get((item.subject.kind, item.rule))


def _title_of_one(item: MessageItem) -> str:
    name = item.name
    part = _part(item)
    if part is not None:
        return _title_of_part(item, part)
    if item.rule == CERTIFICATE:
        if item.event is Event.RECOVERED:
            return f"Certificate of {name} is fine again"
        return f"Certificate of {name} expires soon"
    if item.passing:
        return f"{name} was {item.was} {_for_how_long(item)}, recovered"
    match item.event:
        case Event.RECOVERED if item.verdict is Verdict.DEGRADED:
            return f"{name} recovered, but is degraded"
        case Event.RECOVERED:
            return f"{name} recovered"
        case Event.REMINDER:
            return f"{name} is still {item.verdict}"
    return f"{name} is {item.verdict}"


def _title_of_part(item: MessageItem, part: _Part) -> str:
    """``web-1: CPU 97 %, critical from 95 %``, ``web-1: CPU is fine again``, ``web-1 is back``."""
    what = f"{item.name}: {part.name}" if part.name else item.name
    if item.passing:
        return f"{what} was {part.word(item.was)} {_for_how_long(item)}, recovered"
    match item.event:
        case Event.RECOVERED if item.verdict is Verdict.DEGRADED:
            return f"{what} is no longer {part.down}, but {part.degraded}"
        case Event.RECOVERED:
            return f"{what} is {part.fine}"
        case Event.REMINDER:
            return f"{what} is still {part.word(item.verdict)}"
    reason = one_line(item.reason, _LONGEST_REASON_IN_LIST)
    return f"{item.name}: {reason}" if reason else f"{what} is {part.word(item.verdict)}"


def _text_of_one(item: MessageItem, now_ms: int) -> str:
    if item.rule == CERTIFICATE:
        lines = [] if item.event is Event.RECOVERED else [item.reason]
    elif item.event is Event.RECOVERED:
        lines = [f"Was {word_of(item, item.was)} {_for_how_long(item)}, since {clock_time(item.since_ms, now_ms)}"]
        if item.reason:
            lines.append(f"Reason: {item.reason}")
    else:
        word = word_of(item, item.verdict)
        since = f"{clock_time(item.since_ms, now_ms)} ({duration(item.duration_ms)} ago)"
        said = item.reason and _title_of_one(item).endswith(item.reason)
        lines = ["" if said else item.reason, f"{word.capitalize()} since {since}"]
        if item.times > 1:
            lines.append(f"Went {word} {item.times} times in a short while")
        if item.dependents_down == 1:
            lines.append("1 target that depends on it is down too")
        elif item.dependents_down:
            lines.append(f"{item.dependents_down} targets that depend on it are down too")
    return "\n".join([*filter(None, lines), item.url])


def word_of(item: MessageItem, verdict: Verdict) -> str:
    """``down``; of a part of a machine ``critical``."""
    part = _part(item)
    return part.word(verdict) if part is not None else verdict


def condition(item: MessageItem, verdict: Verdict) -> str:
    """``down``; of a machine ``CPU critical``, ``silent``."""
    part = _part(item)
    return f"{part.name} {part.word(verdict)}".strip() if part is not None else verdict


def _title_of_many(items: Sequence[MessageItem]) -> str:
    counts = Counter(_headline(item) for item in items)
    parts: list[str] = []
    said = ""
    for headline, count in counts.items():
        text = headline.one if count == 1 else headline.many
        if said and headline.noun == said:
            # "12 targets are down, 3 recovered": the noun once.
            text = "# " + text.split(maxsplit=2)[2].removeprefix("is ").removeprefix("are ")
        said = said if headline.noun is None else headline.noun
        text = text.replace("#", str(count))
        parts.append(text if parts else text[:1].upper() + text[1:])
    return ", ".join(parts)


class _Headline(NamedTuple):
    one: str
    many: str
    noun: str | None = None
    """What it begins to count with; "": it begins otherwise; None: what others count is no less clear after it."""


def _headline(item: MessageItem) -> _Headline:
    if item.rule == CERTIFICATE:
        if item.event is Event.RECOVERED:
            return _Headline("# certificate is fine again", "# certificates are fine again")
        return _Headline("# certificate expires soon", "# certificates expire soon")
    noun = item.subject.kind
    part = _part(item)
    one, many = _happened(item, part)
    if part is not None and part.name:
        return _Headline(f"{part.name} of # {noun} {one}", f"{part.name} of # {noun}s {one}", "")
    return _Headline(f"# {noun} {one}", f"# {noun}s {many}", noun)


def _happened(item: MessageItem, part: _Part | None) -> tuple[str, str]:
    """To one and to many: ``is down`` and ``are down``."""
    if item.passing:
        was = word_of(item, item.was)
        return f"was {was} briefly", f"were {was} briefly"
    if item.event is Event.RECOVERED:
        return ("recovered", "recovered") if part is None else (f"is {part.fine}", f"are {part.fine}")
    still = "still " if item.event is Event.REMINDER else ""
    word = word_of(item, item.verdict)
    return f"is {still}{word}", f"are {still}{word}"


def _text_of_many(items: Sequence[MessageItem], link_base: str, now_ms: int) -> str:
    lines = [_line(item, now_ms) for item in items[:MOST_LINES]]
    if len(items) > MOST_LINES:
        lines.append(f"and {len(items) - MOST_LINES} more")
    kinds = {item.subject.kind for item in items}
    page = f"/{kinds.pop()}s" if len(kinds) == 1 else "/"
    return "\n".join([*lines, f"{link_base}{page}"])


def _line(item: MessageItem, now_ms: int) -> str:
    sign, name = SIGNS[item.verdict], item.name
    reason = one_line(item.reason, _LONGEST_REASON_IN_LIST)
    part = _part(item)
    if part is not None:
        return f"{sign} {_line_of_part(item, part, reason, now_ms)}"
    if item.rule == CERTIFICATE:
        return f"{sign} {name}: " + ("certificate is fine again" if item.event is Event.RECOVERED else reason)
    because = f": {reason}" if reason else ""
    if item.event is Event.RECOVERED:
        but = ", but is degraded" if item.verdict is Verdict.DEGRADED else ""
        return f"{sign} {name} recovered{but}, was {item.was} {_for_how_long(item)}{because}"
    along = f" with {item.dependents_down} that depend on it" if item.dependents_down else ""
    return f"{sign} {name} {item.verdict}{along} since {clock_time(item.since_ms, now_ms)}{because}"


def _line_of_part(item: MessageItem, part: _Part, reason: str, now_ms: int) -> str:
    what = f"{item.name}: {part.name}" if part.name else item.name
    because = f": {reason}" if reason else ""
    if item.event is Event.RECOVERED:
        return f"{what} {part.word(item.verdict)}, was {part.word(item.was)} {_for_how_long(item)}{because}"
    since = f"since {clock_time(item.since_ms, now_ms)}"
    if item.event is Event.REMINDER or not reason:
        still = "still " if item.event is Event.REMINDER else ""
        return f"{what} {still}{part.word(item.verdict)} {since}{because}"
    return f"{item.name}: {reason} ({since})"


def _for_how_long(item: MessageItem) -> str:
    if item.times > 1:
        return f"{item.times} times, {duration(item.duration_ms)} in all"
    return f"for {duration(item.duration_ms)}"


def one_line(text: str, longest: int) -> str:
    """``text`` without line breaks and control characters, cut to ``longest``: names and reasons come from outside."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= longest else flat[: longest - 1].rstrip() + "…"


def duration(duration_ms: int) -> str:
    """As people say it, in the two largest units: ``20 s``, ``4 min``, ``2 h 14 min``, ``3 d 2 h``."""
    seconds = duration_ms // 1000
    if seconds < 1:
        return "less than 1 s"
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        rest = seconds % 60
        return f"{minutes} min {rest} s" if minutes < 3 and rest else f"{minutes} min"
    hours = minutes // 60
    if hours < 24:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    days = hours // 24
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def clock_time(at_ms: int, now_ms: int) -> str:
    """``14:02 UTC``, with the date when it is not the date of ``now_ms``."""
    at, now = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (at_ms, now_ms))
    return at.strftime("%H:%M UTC" if at.date() == now.date() else "%Y-%m-%d %H:%M UTC")


# ── 3. again, when it did not go out ──────────────────────────────────────────────────────────────────


def next_attempt_ms(
    *,
    failures: int,
    created_ms: int,
    now_ms: int,
    jitter: float,
    retry_after_s: float | None,
    timing: AlertTiming,
) -> int | None:
    """When a message is tried again after its ``failures``-th failed attempt (from 1). None: it is abandoned.

    ``jitter`` is a random number from 0 to 1. A time the other side asked for is honoured.
    """
    if now_ms - created_ms >= timing.give_up_after_ms:
        return None
    delay_ms = timing.retry_delays_ms[min(failures, len(timing.retry_delays_ms)) - 1]
    delay_ms = int(delay_ms * (1 + timing.retry_jitter * jitter))
    if retry_after_s is not None:
        delay_ms = max(delay_ms, min(int(retry_after_s * 1000), timing.retry_after_max_ms))
    return now_ms + delay_ms


# ── 4. again, because it lasts ────────────────────────────────────────────────────────────────────────


class StillDown(NamedTuple):
    """A state that is down now: its transitions since it was last up, oldest first, and what was said of them."""

    past: Sequence[Recorded]
    said: Sequence[Said]


def reminders(
    down: Iterable[StillDown], *, rules: Iterable[Rule], channel_ids: Iterable[int], now_ms: int
) -> list[Notice]:
    """What is told again. A rule that is due on a channel reminds there of everything that is still down at once.

    It is due when one of the outages it told there was last told ``reminder_s`` ago. A channel that has not got the
    last word yet is not given another.
    """
    by_id = {rule.id: rule for rule in rules if rule.enabled and rule.reminder_s}
    open_channels = set(channel_ids)
    newest: dict[tuple[int, int], list[Said]] = {}
    for subject in down:
        run = standing(subject.past).transition_ids
        told: dict[tuple[int, int], Said] = {}
        for word in sorted(subject.said, key=lambda word: (word.created_ms, word.notice)):
            notice = word.notice
            if notice.transition_id in run and notice.event in (Event.DOWN, Event.REMINDER):
                told[notice.rule_id, notice.channel_id] = word
        for place, word in told.items():
            newest.setdefault(place, []).append(word)
    result: list[Notice] = []
    for (rule_id, channel_id), words in newest.items():
        rule = by_id.get(rule_id)
        if rule is None or rule.reminder_s is None or channel_id not in open_channels:
            continue
        due_ms = now_ms - rule.reminder_s * 1000
        if all(word.delivered for word in words) and any(word.created_ms <= due_ms for word in words):
            result += [word.notice._replace(event=Event.REMINDER) for word in words]
    return result


# ── as JSON ───────────────────────────────────────────────────────────────────────────────────────────


def message_document(message: Message) -> dict[str, object]:
    """A message as a JSON object; ``message_of`` reads it back."""
    return {
        "title": message.title,
        "text": message.text,
        "items": [_item_document(item) for item in message.items],
        "delivery_key": message.delivery_key,
        "created_ms": message.created_ms,
        "recovered": message.recovered,
        "omitted": message.omitted,
    }


def _item_document(item: MessageItem) -> dict[str, object]:
    """The subject stands in it as those read it that know targets only."""
    others = {name: getattr(item, name) for name in _PLAIN}
    return {"kind": item.subject.kind, "target_id": item.subject.id, "target_name": item.name, **others}


_PLAIN = tuple(name for name in MessageItem.__dataclass_fields__ if name not in ("subject", "name"))


def message_of(document: Mapping[str, object]) -> Message:
    """The message a document holds. Raises ``KeyError``, ``TypeError`` or ``ValueError`` on anything else.

    Of an item only what is known here is read: a newer version beside this one may have written more.
    """
    fields = dict(document)
    items = fields.pop("items")
    if not isinstance(items, list):
        raise TypeError("items is not a list")
    return Message(
        items=tuple(
            MessageItem(
                **{
                    **{name: item[name] for name in _PLAIN if name in item},
                    "subject": Subject(item.get("kind", TARGET), item["target_id"]),
                    "name": item["target_name"],
                    "event": Event(item["event"]),
                    "verdict": Verdict(item["verdict"]),
                    "was": Verdict(item["was"]),
                }
            )
            for item in items
        ),
        **fields,  # type: ignore[arg-type]
    )
