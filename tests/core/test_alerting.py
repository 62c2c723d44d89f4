"""Who is told what, when, and in which words: examples people would recognize, and properties over any history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.alerting import (
    AlertTiming,
    Event,
    Message,
    News,
    Notice,
    Recorded,
    Rule,
    Said,
    StillDown,
    clock_time,
    compose,
    duration,
    is_ripe,
    message_document,
    message_of,
    next_attempt_ms,
    notices_for,
    one_line,
    reminders,
    standing,
)
from tocsin.core.bands import CPU, DISK, MEMORY, REPORTING
from tocsin.core.decide import Transition, Verdict
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET

UP, DEGRADED, DOWN, UNKNOWN = Verdict.UP, Verdict.DEGRADED, Verdict.DOWN, Verdict.UNKNOWN
NOON = 1_772_366_520_000  # 2026-03-01 12:02 UTC
MINUTE = 60_000
BASE = "http://127.0.0.1:8080"
SHOP = Subject(TARGET, 17)

EVERYTHING = Rule(
    id=1,
    name="everything",
    enabled=True,
    is_default=True,
    target_ids=(),
    machine_ids=(),
    tags=(),
    events=(Event.DOWN, Event.RECOVERED, Event.DEGRADED, Event.CERTIFICATE),
    channel_ids=(),
    reminder_s=3600,
)


def history(
    *verdicts: Verdict, rule: str = REACHABLE, target_id: int = 17, machine_id: int | None = None
) -> list[Recorded]:
    """One transition a minute from noon, into each of ``verdicts``."""
    subject = Subject(TARGET, target_id) if machine_id is None else Subject(MACHINE, machine_id)
    key = StateKey(subject, rule, HEADLINE)
    before = [UNKNOWN, *verdicts]
    return [
        Recorded(
            number + 1,
            Transition(
                key,
                before[number],
                after,
                NOON + number * MINUTE,
                NOON + number * MINUTE,
                "connection refused" if after is DOWN else "",
            ),
        )
        for number, after in enumerate(verdicts)
    ]


def told(
    past: Sequence[Recorded], rules: Sequence[Rule] = (EVERYTHING,), channels: Sequence[int] = (1,)
) -> list[Notice]:
    """Everything that is said along a history, each transition routed once, in order."""
    said: list[Said] = []
    for number, recorded in enumerate(past):
        fresh = notices_for(
            recorded,
            past[:number],
            tags=("prod",),
            said=said,
            rules=rules,
            channel_ids=channels,
        )
        said += [Said(notice, recorded.transition.at_ms, False) for notice in fresh]
    return [word.notice for word in said]


def events(past: Sequence[Recorded], rule: Rule = EVERYTHING) -> list[tuple[int, Event]]:
    return [(notice.transition_id, notice.event) for notice in told(past, [rule])]


# ── who is told ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ((UP,), []),
        ((DOWN,), [(1, Event.DOWN)]),
        ((UP, DOWN, UP), [(2, Event.DOWN), (3, Event.RECOVERED)]),
        ((UP, DEGRADED, UP), [(2, Event.DEGRADED), (3, Event.RECOVERED)]),
        ((UP, DEGRADED, DOWN, UP), [(2, Event.DEGRADED), (3, Event.DOWN), (4, Event.RECOVERED)]),
        (
            (UP, DOWN, DEGRADED, UP),
            [(2, Event.DOWN), (3, Event.RECOVERED), (4, Event.RECOVERED)],
        ),
        ((UP, UNKNOWN, UP), []),
        ((UP, DOWN, UNKNOWN), [(2, Event.DOWN)]),
        ((UP, DOWN, UNKNOWN, UP), [(2, Event.DOWN), (4, Event.RECOVERED)]),
        ((UP, DOWN, UNKNOWN, DOWN, UP), [(2, Event.DOWN), (5, Event.RECOVERED)]),
        ((UP, DOWN, UNKNOWN, DOWN, UNKNOWN, DOWN), [(2, Event.DOWN)]),
        ((UP, DEGRADED, UNKNOWN, DEGRADED), [(2, Event.DEGRADED)]),
        (
            (UP, DOWN, DEGRADED, DOWN, UP),
            [(2, Event.DOWN), (3, Event.RECOVERED), (4, Event.DOWN), (5, Event.RECOVERED)],
        ),
        ((UP, DOWN, UP, DOWN), [(2, Event.DOWN), (3, Event.RECOVERED), (4, Event.DOWN)]),
    ],
)
def test_what_a_history_tells(verdicts: tuple[Verdict, ...], said: list[tuple[int, Event]]) -> None:
    assert events(history(*verdicts)) == said


def test_a_certificate_is_told_and_its_renewal_too() -> None:
    past = history(UP, DEGRADED, UNKNOWN, DEGRADED, UP, rule=CERTIFICATE)
    assert events(past) == [(2, Event.CERTIFICATE), (5, Event.RECOVERED)]
    assert events(past, replace(EVERYTHING, events=(Event.DOWN, Event.RECOVERED, Event.DEGRADED))) == []


def test_a_rule_that_does_not_name_degraded_hears_one_recovery() -> None:
    rule = replace(EVERYTHING, events=(Event.DOWN, Event.RECOVERED))
    assert events(history(UP, DOWN, DEGRADED, UP), rule) == [(2, Event.DOWN), (3, Event.RECOVERED)]


def test_a_rule_that_names_only_degraded_hears_of_it_after_an_outage() -> None:
    rule = replace(EVERYTHING, events=(Event.DEGRADED,))
    assert events(history(UP, DOWN, DEGRADED, UP), rule) == [(3, Event.DEGRADED)]


def test_a_rule_without_recovered_hears_of_each_outage() -> None:
    rule = replace(EVERYTHING, events=(Event.DOWN,))
    assert events(history(UP, DOWN, DEGRADED, DOWN), rule) == [(2, Event.DOWN), (4, Event.DOWN)]


def test_a_channel_added_during_an_outage_hears_of_it_after_an_unknown_and_of_its_end() -> None:
    past = history(UP, DOWN, UNKNOWN, DOWN, UP)
    before = [Said(Notice(1, 1, 2, Event.DOWN), NOON, True)]

    def say(number: int, said: list[Said]) -> list[Notice]:
        return notices_for(
            past[number],
            past[:number],
            tags=(),
            said=said,
            rules=[EVERYTHING],
            channel_ids=(1, 2),
        )

    again = say(3, before)
    assert again == [Notice(1, 2, 4, Event.DOWN)]
    over = say(4, [*before, Said(again[0], NOON, False)])
    assert over == [Notice(1, 1, 5, Event.RECOVERED), Notice(1, 2, 5, Event.RECOVERED)]


def test_a_recovery_follows_the_trouble_whatever_the_rule_matches_by_now() -> None:
    past = history(UP, DOWN, UP)
    narrowed = replace(EVERYTHING, target_ids=(99,))
    notices = notices_for(
        past[2],
        past[:2],
        tags=(),
        said=[Said(Notice(1, 1, 2, Event.DOWN), NOON, True)],
        rules=[narrowed],
        channel_ids=(1,),
    )
    assert notices == [Notice(1, 1, 3, Event.RECOVERED)]


def test_a_reminder_does_not_hide_the_outage_it_reminds_of() -> None:
    past = history(UP, DOWN, UP)
    said = [
        Said(Notice(1, 1, 2, Event.DOWN), NOON, True),
        Said(Notice(1, 1, 2, Event.REMINDER), NOON + MINUTE, True),
    ]
    notices = notices_for(past[2], past[:2], tags=(), said=said, rules=[EVERYTHING], channel_ids=(1,))
    assert notices == [Notice(1, 1, 3, Event.RECOVERED)]


def test_which_targets_a_rule_matches() -> None:
    assert EVERYTHING.matches(SHOP, ())
    assert replace(EVERYTHING, target_ids=(17,)).matches(SHOP, ())
    assert not replace(EVERYTHING, target_ids=(18,)).matches(SHOP, ("prod",))
    assert replace(EVERYTHING, tags=("eu", "prod")).matches(SHOP, ("prod", "web"))
    assert not replace(EVERYTHING, tags=("eu",)).matches(SHOP, ("prod",))
    assert replace(EVERYTHING, target_ids=(18,), tags=("prod",)).matches(SHOP, ("prod",))


def test_a_rule_tells_a_machine_from_a_target_of_the_same_number() -> None:
    host = Subject(MACHINE, SHOP.id)
    assert EVERYTHING.matches(host, ())
    assert not replace(EVERYTHING, target_ids=(17,)).matches(host, ())
    assert replace(EVERYTHING, machine_ids=(17,)).matches(host, ())
    assert not replace(EVERYTHING, machine_ids=(17,)).matches(SHOP, ("prod",))
    assert replace(EVERYTHING, target_ids=(17,), tags=("prod",)).matches(host, ("prod",))


def test_which_channels_a_rule_means() -> None:
    assert EVERYTHING.channels([1, 2]) == [1, 2]
    assert replace(EVERYTHING, channel_ids=(2, 9)).channels([1, 2]) == [2]
    assert replace(EVERYTHING, is_default=False).channels([1, 2]) == []


# ── properties over any history ───────────────────────────────────────────────────────────────────────

verdict_lists = st.lists(st.sampled_from(list(Verdict)), max_size=14).map(
    lambda verdicts: [
        verdict for previous, verdict in zip([UNKNOWN, *verdicts], verdicts, strict=False) if verdict is not previous
    ]
)
rule_lists = st.lists(
    st.builds(
        Rule,
        id=st.integers(1, 3),
        name=st.just("rule"),
        enabled=st.booleans(),
        is_default=st.booleans(),
        target_ids=st.sampled_from([(), (17,), (18,)]),
        machine_ids=st.sampled_from([(), (17,)]),
        tags=st.sampled_from([(), ("prod",), ("test",)]),
        events=st.sets(st.sampled_from([Event.DOWN, Event.RECOVERED, Event.DEGRADED, Event.CERTIFICATE])).map(
            lambda chosen: tuple(sorted(chosen))
        ),
        channel_ids=st.sets(st.integers(1, 3)).map(lambda chosen: tuple(sorted(chosen))),
        reminder_s=st.sampled_from([None, 3600]),
    ),
    max_size=3,
    unique_by=lambda rule: rule.id,
)


def outages(past: Sequence[Recorded]) -> list[list[int]]:
    """The slow and obvious model: runs of down, across unknown, as the ids of their transitions to down."""
    runs: list[list[int]] = []
    is_down = False
    for number, transition in past:
        if transition.after is DOWN:
            if not is_down:
                runs.append([])
            runs[-1].append(number)
            is_down = True
        elif transition.after is not UNKNOWN:
            is_down = False
    return runs


@given(verdict_lists, rule_lists)
def test_every_outage_is_told_exactly_once_on_each_channel_of_each_matching_rule(
    verdicts: list[Verdict], rules: list[Rule]
) -> None:
    past = history(*verdicts)
    notices = told(past, rules, channels=(1, 2))
    wanted = {
        (rule.id, channel)
        for rule in rules
        if rule.enabled and Event.DOWN in rule.events and rule.matches(SHOP, ("prod",))
        for channel in rule.channels((1, 2))
    }
    downs = [notice for notice in notices if notice.event is Event.DOWN]
    for outage in outages(past):
        heard = [(notice.rule_id, notice.channel_id) for notice in downs if notice.transition_id in outage]
        assert sorted(heard) == sorted(wanted)
    assert len(downs) == len(wanted) * len(outages(past))


@given(verdict_lists, rule_lists)
def test_recovered_comes_only_after_trouble_and_once(verdicts: list[Verdict], rules: list[Rule]) -> None:
    past = history(*verdicts)
    after = {number: transition.after for number, transition in past}
    by_id = {rule.id: rule for rule in rules}
    in_trouble: set[tuple[int, int]] = set()
    for notice in told(past, rules, channels=(1, 2)):
        place = (notice.rule_id, notice.channel_id)
        if notice.event is Event.RECOVERED:
            assert place in in_trouble
            still = after[notice.transition_id] is DEGRADED and Event.DEGRADED in by_id[notice.rule_id].events
            if not still:
                in_trouble.discard(place)
        else:
            in_trouble.add(place)


@given(verdict_lists, rule_lists)
def test_nobody_is_left_believing_in_trouble_that_is_over(verdicts: list[Verdict], rules: list[Rule]) -> None:
    past = history(*verdicts, UP) if verdicts and verdicts[-1] is not UP else history(*verdicts)
    last: dict[tuple[int, int], Event] = {}
    by_id = {rule.id: rule for rule in rules}
    for notice in told(past, rules, channels=(1, 2)):
        last[notice.rule_id, notice.channel_id] = notice.event
    for (rule_id, _), event in last.items():
        assert event is Event.RECOVERED or Event.RECOVERED not in by_id[rule_id].events


@given(verdict_lists, rule_lists)
def test_one_transition_says_one_thing_per_rule_and_channel_and_unknown_nothing(
    verdicts: list[Verdict], rules: list[Rule]
) -> None:
    past = history(*verdicts)
    notices = told(past, rules, channels=(1, 2))
    places = [(notice.rule_id, notice.channel_id, notice.transition_id) for notice in notices]
    assert len(places) == len(set(places))
    silent = {number for number, transition in past if transition.after is UNKNOWN}
    assert not silent & {notice.transition_id for notice in notices}
    assert {notice.channel_id for notice in notices} <= {1, 2}
    assert {notice.rule_id for notice in notices} <= {rule.id for rule in rules if rule.enabled}


@given(verdict_lists, rule_lists)
def test_only_what_came_since_the_last_up_matters(verdicts: list[Verdict], rules: list[Rule]) -> None:
    """The store reads no further back than that."""
    past = history(*verdicts)
    said: list[Said] = []
    for number, recorded in enumerate(past):
        earlier = past[:number]
        ups = [index for index, (_, transition) in enumerate(earlier) if transition.after is UP]
        recent = earlier[ups[-1] + 1 :] if ups else earlier

        def route(seen: Sequence[Recorded], words: Sequence[Said], recorded: Recorded = recorded) -> list[Notice]:
            return notices_for(
                recorded,
                seen,
                tags=("prod",),
                said=words,
                rules=rules,
                channel_ids=(1, 2),
            )

        ids = {transition_id for transition_id, _ in recent}
        fresh = route(earlier, said)
        assert route(recent, [word for word in said if word.notice.transition_id in ids]) == fresh
        said += [Said(notice, recorded.transition.at_ms, False) for notice in fresh]


# ── when a message is written ─────────────────────────────────────────────────────────────────────────


def test_a_message_waits_for_quiet_but_not_for_ever() -> None:
    timing = AlertTiming(group_wait_ms=10_000, group_max_ms=60_000)

    def ripe(first_ms: int, last_ms: int, now_ms: int) -> bool:
        return is_ripe(first_ms=first_ms, last_ms=last_ms, now_ms=now_ms, timing=timing)

    assert not ripe(0, 0, 9_999)
    assert ripe(0, 0, 10_000)
    assert not ripe(0, 50_001, 59_999)
    assert ripe(0, 59_000, 60_000)
    assert ripe(5_000, 5_000, 1_000)  # the clock was set back


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=200))
def test_no_notice_waits_longer_than_a_minute_and_quiet_ends_the_wait(arrivals_ms: list[int]) -> None:
    timing = AlertTiming()
    waiting: list[int] = []
    messages: list[tuple[int, list[int]]] = []
    coming = sorted(arrivals_ms)
    for now_ms in range(0, 200_000, 500):
        while coming and coming[0] <= now_ms:
            waiting.append(coming.pop(0))
        if waiting and is_ripe(first_ms=waiting[0], last_ms=waiting[-1], now_ms=now_ms, timing=timing):
            messages.append((now_ms, waiting))
            waiting = []
    assert not waiting
    assert sum(len(notices) for _, notices in messages) == len(arrivals_ms)
    for written_ms, notices in messages:
        assert written_ms - notices[0] <= timing.group_max_ms + 500
        quiet_ms = written_ms - notices[-1]
        assert quiet_ms >= timing.group_wait_ms or written_ms - notices[0] >= timing.group_max_ms


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────


def news(
    past: Sequence[Recorded],
    number: int,
    event: Event,
    *,
    name: str = "checkout-api",
    reason: str | None = None,
) -> News:
    """What is told of the ``number``-th transition (from 1) of a history."""
    recorded = past[number - 1]
    if reason is not None:
        recorded = recorded._replace(transition=recorded.transition._replace(reason=reason))
    return News(event, recorded, standing(past[: number - 1]), name)


def write(*pieces: News, now_ms: int) -> Message:
    return compose(pieces, link_base=BASE, delivery_key="msg_1", now_ms=now_ms)


def test_one_target_down() -> None:
    message = write(
        news(history(UP, DOWN), 2, Event.DOWN, reason="connect to 10.0.3.7:443 refused"),
        now_ms=NOON + 5 * MINUTE,
    )
    assert message.title == "checkout-api is down"
    assert message.text == (
        "connect to 10.0.3.7:443 refused\nDown since 12:03 UTC (4 min ago)\nhttp://127.0.0.1:8080/targets/17"
    )
    assert not message.recovered


def test_an_outage_across_unknown_is_as_long_as_it_was() -> None:
    past = history(UP, DOWN, UNKNOWN, UP)
    message = write(news(past, 4, Event.RECOVERED), now_ms=NOON + 4 * MINUTE)
    assert message.title == "checkout-api recovered"
    assert message.text == (
        "Was down for 2 min, since 12:03 UTC\nReason: connection refused\nhttp://127.0.0.1:8080/targets/17"
    )
    assert message.items[0].duration_ms == 2 * MINUTE
    assert message.recovered


def test_a_recovery_that_is_not_complete_says_so() -> None:
    message = write(news(history(UP, DOWN, DEGRADED), 3, Event.RECOVERED), now_ms=NOON + 3 * MINUTE)
    assert message.title == "checkout-api recovered, but is degraded"


def test_an_outage_that_began_before_today_says_the_date() -> None:
    message = write(news(history(UP, DOWN), 2, Event.REMINDER), now_ms=NOON + 26 * 60 * MINUTE)
    assert message.title == "checkout-api is still down"
    assert "Down since 2026-03-01 12:03 UTC (1 d 1 h ago)" in message.text


def test_how_many_depend_on_what_is_down() -> None:
    piece = news(history(UP, DOWN), 2, Event.DOWN)
    message = write(piece._replace(dependents_down=300), now_ms=NOON + 5 * MINUTE)
    assert message.title == "checkout-api is down"
    assert message.text.splitlines()[1:3] == [
        "Down since 12:03 UTC (4 min ago)",
        "300 targets that depend on it are down too",
    ]
    assert message.items[0].dependents_down == 300
    one = write(piece._replace(dependents_down=1), now_ms=NOON + 5 * MINUTE)
    assert "1 target that depends on it is down too" in one.text
    other = news(history(UP, DOWN, target_id=2), 2, Event.DOWN, name="shop")
    listed = write(piece._replace(dependents_down=300), other, now_ms=NOON + 5 * MINUTE)
    assert "■ checkout-api down with 300 that depend on it since 12:03 UTC: connection refused" in listed.text


def test_what_depended_on_it_is_not_counted_once_it_is_over() -> None:
    past = history(UP, DOWN, UP)
    pieces = news(past, 2, Event.DOWN)._replace(dependents_down=300), news(past, 3, Event.RECOVERED)
    assert write(*pieces, now_ms=NOON + 5 * MINUTE).items[0].dependents_down == 0


def test_a_blip_is_one_line() -> None:
    past = history(UP, DOWN, UP)
    blip = past[2]._replace(transition=past[2].transition._replace(at_ms=past[1].transition.at_ms + 20_000))
    past[2] = blip
    message = write(news(past, 2, Event.DOWN), news(past, 3, Event.RECOVERED), now_ms=NOON + MINUTE + 30_000)
    assert message.title == "checkout-api was down for 20 s, recovered"
    assert len(message.items) == 1
    assert message.items[0].passing


def test_flapping_is_told_once_and_counted() -> None:
    past = history(UP, DOWN, UP, DOWN, UP, DOWN, UP)
    pieces = [news(past, number, Event.DOWN if number % 2 == 0 else Event.RECOVERED) for number in range(2, 8)]
    message = write(*pieces, now_ms=NOON + 7 * MINUTE)
    assert message.title == "checkout-api was down 3 times, 3 min in all, recovered"
    still_down = write(*pieces[:5], now_ms=NOON + 6 * MINUTE)
    assert still_down.title == "checkout-api is down"
    assert "Went down 3 times in a short while" in still_down.text


def test_two_rules_that_say_the_same_say_it_once() -> None:
    piece = news(history(UP, DOWN), 2, Event.DOWN)
    assert write(piece, piece, now_ms=NOON + MINUTE) == write(piece, now_ms=NOON + MINUTE)


def test_two_rules_that_put_one_transition_differently_say_the_better_news() -> None:
    past = history(UP, DOWN, DEGRADED)
    pieces = news(past, 3, Event.RECOVERED), news(past, 3, Event.DEGRADED)
    for order in (pieces, pieces[::-1]):
        message = write(*order, now_ms=NOON + 3 * MINUTE)
        assert message.title == "checkout-api recovered, but is degraded"
        assert not message.items[0].passing


def test_a_certificate() -> None:
    past = history(UP, DEGRADED, UP, rule=CERTIFICATE)
    soon = write(news(past, 2, Event.CERTIFICATE, reason="expires in 13 days, on 2026-03-14"), now_ms=NOON + MINUTE)
    assert soon.title == "Certificate of checkout-api expires soon"
    assert soon.text.startswith("expires in 13 days, on 2026-03-14\n")
    assert (
        write(news(past, 3, Event.RECOVERED), now_ms=NOON + MINUTE).title == "Certificate of checkout-api is fine again"
    )


def test_many_targets_are_one_list_worst_first_and_capped() -> None:
    pieces = [
        news(history(UP, DOWN, target_id=number), 2, Event.DOWN, name=f"target {number:03}") for number in range(1, 109)
    ]
    message = write(*pieces, now_ms=NOON + 2 * MINUTE)
    lines = message.text.splitlines()
    assert message.title == "108 targets are down"
    assert lines[0] == "■ target 001 down since 12:03 UTC: connection refused"
    assert lines[-2:] == ["and 88 more", "http://127.0.0.1:8080/targets"]
    assert len(lines) == 22
    assert len(message.items) == 108
    assert message.omitted == 0


def test_a_mixed_message_counts_each_kind() -> None:
    message = write(
        news(history(UP, DOWN, target_id=1), 2, Event.DOWN, name="a"),
        news(history(UP, DOWN, target_id=2), 2, Event.DOWN, name="b"),
        news(history(UP, DOWN, target_id=3), 2, Event.REMINDER, name="c"),
        news(history(UP, DEGRADED, target_id=4), 2, Event.DEGRADED, name="d", reason="slow"),
        news(history(UP, DEGRADED, target_id=5, rule=CERTIFICATE), 2, Event.CERTIFICATE, name="e"),
        news(history(UP, DOWN, UP, target_id=6), 3, Event.RECOVERED, name="f"),
        news(history(UP, DOWN, UP, target_id=7), 2, Event.DOWN, name="g"),
        news(history(UP, DOWN, UP, target_id=7), 3, Event.RECOVERED, name="g"),
        now_ms=NOON + 3 * MINUTE,
    )
    assert message.title == (
        "2 targets are down, 1 still down, 1 degraded, 1 certificate expires soon, 1 recovered, 1 was down briefly"
    )
    assert [line[:3] for line in message.text.splitlines()[:7]] == [
        "■ a",
        "■ b",
        "■ c",
        "◐ d",
        "◐ e",
        "● f",
        "● g",
    ]
    assert not message.recovered


BUSY = "CPU 97 %, critical from 95 %"


def machine_news(
    past: Sequence[Recorded], number: int, event: Event, reason: str = BUSY, *, name: str = "web-1"
) -> News:
    piece = news(past, number, event, name=name, reason=reason)
    return piece._replace(before=piece.before._replace(reason=reason)) if event is Event.RECOVERED else piece


def test_a_machine_is_told_of_in_the_words_of_the_reason() -> None:
    past = history(UP, DOWN, DEGRADED, UP, rule=CPU, machine_id=3)
    critical = write(machine_news(past, 2, Event.DOWN), now_ms=NOON + 5 * MINUTE)
    assert critical.title == "web-1: CPU 97 %, critical from 95 %"
    assert critical.text == "Critical since 12:03 UTC (4 min ago)\nhttp://127.0.0.1:8080/machines/3"
    reminder = write(machine_news(past, 2, Event.REMINDER), now_ms=NOON + 61 * MINUTE)
    assert reminder.title == "web-1: CPU is still critical"
    assert reminder.text.splitlines()[:2] == [BUSY, "Critical since 12:03 UTC (1 h ago)"]
    better = write(machine_news(past, 3, Event.RECOVERED), now_ms=NOON + 5 * MINUTE)
    assert better.title == "web-1: CPU is no longer critical, but high"
    over = write(machine_news(past, 4, Event.RECOVERED), now_ms=NOON + 5 * MINUTE)
    assert over.title == "web-1: CPU is fine again"
    assert over.text.splitlines()[:2] == ["Was high for 1 min, since 12:04 UTC", f"Reason: {BUSY}"]
    assert over.recovered


def test_a_machine_that_is_silent_and_comes_back() -> None:
    past = history(UP, DOWN, UP, rule=REPORTING, machine_id=3)
    gone = write(machine_news(past, 2, Event.DOWN, "no sample for 15 s"), now_ms=NOON + 2 * MINUTE)
    assert gone.title == "web-1: no sample for 15 s"
    assert gone.text.startswith("Silent since 12:03 UTC (1 min ago)\n")
    assert write(machine_news(past, 2, Event.REMINDER), now_ms=NOON + 61 * MINUTE).title == "web-1 is still silent"
    back = write(machine_news(past, 3, Event.RECOVERED, "no sample for 15 s"), now_ms=NOON + 3 * MINUTE)
    assert back.title == "web-1 is back"
    assert back.text.startswith("Was silent for 1 min, since 12:03 UTC\nReason: no sample for 15 s\n")
    both = machine_news(past, 2, Event.DOWN), machine_news(past, 3, Event.RECOVERED)
    assert write(*both, now_ms=NOON + 3 * MINUTE).title == "web-1 was silent for 1 min, recovered"


def test_a_machine_without_a_reason_and_one_with_a_rule_nobody_knows() -> None:
    silent = write(machine_news(history(UP, DOWN, rule=MEMORY, machine_id=3), 2, Event.DOWN, ""), now_ms=NOON)
    assert silent.title == "web-1: memory is critical"
    unheard_of = write(machine_news(history(UP, DOWN, rule="tide", machine_id=3), 2, Event.DOWN, "high"), now_ms=NOON)
    assert unheard_of.title == "web-1 is down"


def test_machines_and_targets_in_one_message_are_told_apart() -> None:
    """Each state has a line of its own, also where a machine has the number of a target."""
    gone = history(UP, DOWN, rule=REPORTING, machine_id=1)
    message = write(
        news(history(UP, DOWN, target_id=1), 2, Event.DOWN, name="a"),
        machine_news(gone, 2, Event.DOWN, "no sample for 15 s", name="b"),
        machine_news(history(UP, DOWN, rule=CPU, machine_id=1), 2, Event.DOWN, name="b"),
        machine_news(history(UP, DOWN, rule=CPU, machine_id=2), 2, Event.DOWN, name="c"),
        machine_news(history(UP, DEGRADED, rule=DISK, machine_id=2), 2, Event.DEGRADED, "disk / 84 %", name="c"),
        news(history(UP, DOWN, UP, target_id=2), 3, Event.RECOVERED, name="d"),
        now_ms=NOON + 3 * MINUTE,
    )
    assert message.title == (
        "1 target is down, CPU of 2 machines is critical, 1 machine is silent, disk of 1 machine is high, "
        "1 target recovered"
    )
    assert message.text.splitlines() == [
        "■ a down since 12:03 UTC: connection refused",
        "■ b: CPU 97 %, critical from 95 % (since 12:03 UTC)",
        "■ b: no sample for 15 s (since 12:03 UTC)",
        "■ c: CPU 97 %, critical from 95 % (since 12:03 UTC)",
        "◐ c: disk / 84 % (since 12:03 UTC)",
        "● d recovered, was down for 1 min: connection refused",
        "http://127.0.0.1:8080/",
    ]
    assert [item.url.removeprefix(BASE) for item in message.items[:3]] == ["/targets/1", "/machines/1", "/machines/1"]


def test_many_machines_are_one_list() -> None:
    back = [
        machine_news(history(UP, DOWN, UP, rule=REPORTING, machine_id=number), 3, Event.RECOVERED, name=f"web-{number}")
        for number in (1, 2)
    ]
    still = machine_news(history(UP, DOWN, rule=MEMORY, machine_id=3), 2, Event.REMINDER, "memory 97 %", name="db")
    message = write(*back, still, now_ms=NOON + 3 * MINUTE)
    assert message.title == "Memory of 1 machine is still critical, 2 machines are back"
    assert message.text.splitlines() == [
        "■ db: memory still critical since 12:03 UTC: memory 97 %",
        "● web-1 back, was silent for 1 min: CPU 97 %, critical from 95 %",
        "● web-2 back, was silent for 1 min: CPU 97 %, critical from 95 %",
        "http://127.0.0.1:8080/machines",
    ]


def test_a_message_keeps_a_bounded_number_of_items() -> None:
    pieces = [news(history(UP, DOWN, target_id=number), 2, Event.DOWN) for number in range(1, 703)]
    message = write(*pieces, now_ms=NOON + 2 * MINUTE)
    assert (len(message.items), message.omitted) == (500, 202)


def test_names_and_reasons_cannot_forge_lines() -> None:
    piece = news(
        history(UP, DOWN),
        2,
        Event.DOWN,
        name="a\r\nBcc: all@example.com",
        reason="x\u2028y\x00z\n" + "w" * 900,
    )
    message = write(piece, now_ms=NOON + 2 * MINUTE)
    assert message.title == "a Bcc: all@example.com is down"
    assert len(message.text.splitlines()) == 3
    assert "\x00" not in message.text


@given(st.text(max_size=300), st.integers(1, 100))
def test_one_line_is_one_line(text: str, longest: int) -> None:
    line = one_line(text, longest)
    assert len(line) <= longest
    assert len(line.splitlines()) <= 1
    assert line.isprintable()


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "less than 1 s"),
        (999, "less than 1 s"),
        (20_000, "20 s"),
        (60_000, "1 min"),
        (90_000, "1 min 30 s"),
        (4 * MINUTE + 5_000, "4 min"),
        (134 * MINUTE, "2 h 14 min"),
        (120 * MINUTE, "2 h"),
        (74 * 60 * MINUTE, "3 d 2 h"),
        (72 * 60 * MINUTE, "3 d"),
    ],
)
def test_durations_as_people_say_them(ms: int, words: str) -> None:
    assert duration(ms) == words


def test_clock_times_name_their_zone() -> None:
    assert clock_time(NOON, NOON + MINUTE) == "12:02 UTC"
    assert clock_time(NOON, NOON + 86_400_000) == "2026-03-01 12:02 UTC"


def test_a_message_survives_json() -> None:
    message = write(
        news(history(UP, DOWN), 2, Event.DOWN, name="Käse ■"),
        news(history(UP, DOWN, UP, target_id=2), 3, Event.RECOVERED),
        machine_news(history(UP, DOWN, rule=CPU, machine_id=2), 2, Event.DOWN),
        now_ms=NOON + MINUTE,
    )
    assert message_of(json.loads(json.dumps(message_document(message)))) == message


def test_what_a_newer_version_adds_to_an_item_is_left_out() -> None:
    message = write(news(history(UP, DOWN), 2, Event.DOWN), now_ms=NOON + MINUTE)
    document = json.loads(json.dumps(message_document(message)))
    document["items"][0]["mood"] = "sombre"
    assert message_of(document) == message


def test_a_message_of_an_older_version_can_be_read() -> None:
    message = write(news(history(UP, DOWN), 2, Event.DOWN), now_ms=NOON + MINUTE)
    document = json.loads(json.dumps(message_document(message)))
    del document["items"][0]["dependents_down"], document["items"][0]["kind"]
    assert message_of(document) == message


# ── again ─────────────────────────────────────────────────────────────────────────────────────────────


def attempt(failures: int, *, age_ms: int = 0, jitter: float = 0, retry_after_s: float | None = None) -> int | None:
    return next_attempt_ms(
        failures=failures,
        created_ms=NOON - age_ms,
        now_ms=NOON,
        jitter=jitter,
        retry_after_s=retry_after_s,
        timing=AlertTiming(),
    )


def test_pauses_grow_to_an_hour_and_end_after_three_days() -> None:
    pauses_s = [((attempt(failures) or 0) - NOON) // 1000 for failures in range(1, 12)]
    assert pauses_s == [5, 15, 30, 60, 120, 300, 600, 1800, 3600, 3600, 3600]
    assert attempt(1, jitter=1) == NOON + 6_000
    assert attempt(80, age_ms=3 * 86_400_000 - 1) == NOON + 3_600_000
    assert attempt(80, age_ms=3 * 86_400_000) is None


def test_a_pause_that_was_asked_for_is_kept_within_reason() -> None:
    assert attempt(1, retry_after_s=90) == NOON + 90_000
    assert attempt(1, retry_after_s=1) == NOON + 5_000
    assert attempt(1, retry_after_s=1e12) == NOON + 86_400_000


HOUR_S = 3600


def still_down(
    *, target_id: int = 17, told_ms: int, delivered: bool = True, event: Event = Event.DOWN, channel_id: int = 1
) -> StillDown:
    past = [
        recorded._replace(id=recorded.id + target_id * 100)
        for recorded in history(DOWN, UNKNOWN, DOWN, target_id=target_id)
    ]
    return StillDown(past, [Said(Notice(1, channel_id, past[0].id, event), told_ms, delivered)])


def remind(*down: StillDown, rule: Rule = EVERYTHING, now_ms: int = NOON + HOUR_S * 1000) -> list[Notice]:
    return reminders(down, rules=[rule], channel_ids=[1, 2], now_ms=now_ms)


def test_what_lasts_an_hour_is_told_again() -> None:
    assert remind(still_down(told_ms=NOON)) == [Notice(1, 1, 1701, Event.REMINDER)]
    assert remind(still_down(told_ms=NOON + 1)) == []
    assert remind(still_down(told_ms=NOON, event=Event.REMINDER)) == [Notice(1, 1, 1701, Event.REMINDER)]


def test_one_reminder_lists_everything_that_is_still_down() -> None:
    due = remind(still_down(told_ms=NOON), still_down(told_ms=NOON + 50 * MINUTE, target_id=18))
    assert [notice.transition_id for notice in due] == [1701, 1801]


def test_nobody_is_reminded_who_was_not_told() -> None:
    assert remind(still_down(told_ms=NOON), rule=replace(EVERYTHING, reminder_s=None)) == []
    assert remind(still_down(told_ms=NOON), rule=replace(EVERYTHING, enabled=False)) == []
    assert remind(still_down(told_ms=NOON, channel_id=3)) == []  # switched off
    assert remind(still_down(told_ms=NOON, delivered=False)) == []
    assert remind(still_down(told_ms=NOON, event=Event.RECOVERED)) == []
