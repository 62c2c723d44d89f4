"""From transitions to messages, on every engine: routed once, grouped, claimed by one, recorded, told again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.alerting import DELIVERED, Stage
from tocsin.catalog import channels, rules, targets
from tocsin.channels.frame import Delivery
from tocsin.core.alerting import Event, Recorded, message_of
from tocsin.core.bands import MEMORY, REPORTING
from tocsin.core.outcome import CERTIFICATE, REACHABLE, Result
from tocsin.services.alerts import Outbox
from tocsin.store import machines, notifications
from tocsin.store.engine import Store
from tocsin.store.notifications import Notification

FAILED = Delivery(False, "answered 500", 12, retryable=True)
REFUSED = Delivery(False, "answered 410 Gone", 12)
HOUR_S = 3600
PASSED, FAILED_AT = Result.PASSED, Result.FAILED


@pytest.fixture
def stage(store: Store) -> Stage:
    return Stage(store)


# ── routing and grouping ──────────────────────────────────────────────────────────────────────────────


def test_down_and_recovered_reach_a_channel_once(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.up(shop)
    stage.down(shop)
    assert stage.settle() == [hook]
    assert stage.settle() == [hook]
    stage.send(hook)
    stage.clock.tick(220)
    stage.up(shop)
    stage.settle()
    assert stage.titles(hook) == ["shop is down", "shop recovered"]
    assert "Was down for 4 min" in stage.messages(hook)[1].text
    assert stage.messages(hook)[0].text.endswith(f"http://127.0.0.1:8080/targets/{shop}")


def test_the_duration_is_that_of_the_outage_across_unknown(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.down(shop)
    stage.settle()
    stage.clock.tick(100)
    stage.unknown(shop)
    stage.clock.tick(100)
    stage.down(shop)
    stage.settle()
    stage.clock.tick(HOUR_S)
    stage.up(shop)
    stage.settle()
    assert stage.titles(hook) == ["shop is down", "shop recovered"]
    assert "Was down for 1 h 3 min" in stage.messages(hook)[1].text


def test_nothing_is_said_while_nothing_is_wrong(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.up(shop)
    stage.unknown(shop)
    stage.up(shop)
    assert stage.settle() == []
    assert stage.messages(hook) == []
    with stage.store.read() as conn:
        assert notifications.in_line(conn) == []


def test_a_message_waits_for_quiet_and_at_most_a_minute(stage: Stage) -> None:
    hook = stage.channel("hook")
    numbers = [stage.target(f"target {number:03}") for number in range(20)]
    for number in numbers:  # one every 5.5 s: never 10 s of quiet
        stage.down(number)
        stage.outbox.advance()
        if stage.messages(hook):
            break
        stage.clock.tick(5.5)
    (first,) = stage.messages(hook)
    assert first.title == "12 targets are down"


def test_a_storm_in_one_minute_is_one_message(stage: Stage) -> None:
    """200 targets in the 45 s it takes them all to be noticed."""
    hook = stage.channel("hook")
    numbers = [stage.target(f"target {number:03}") for number in range(200)]
    for start in range(0, 200, 20):
        stage.down(*numbers[start : start + 20])
        stage.outbox.advance()
        stage.clock.tick(4.5)
    stage.settle()
    (message,) = stage.messages(hook)
    assert message.title == "200 targets are down"
    assert "and 180 more" in message.text
    stage.send(hook)
    stage.clock.tick(HOUR_S / 2)
    stage.up(*numbers)
    stage.settle()
    assert stage.titles(hook)[1:] == ["200 targets recovered"]


def test_more_than_one_transaction_full_is_still_one_message(stage: Stage) -> None:
    hook = stage.channel("hook")
    numbers = [stage.target(f"target {number}") for number in range(20)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tocsin.services.alerts.BATCH", 7)
        stage.down(*numbers)
        stage.settle()
    assert stage.titles(hook) == ["20 targets are down"]


def test_a_blip_within_the_wait_is_one_line(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.up(shop)
    stage.down(shop)
    stage.outbox.advance()
    stage.clock.tick(5)
    stage.up(shop)
    stage.settle()
    assert stage.titles(hook) == ["shop was down for 5 s, recovered"]


def test_flapping_while_nobody_routed_is_one_message(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    for _ in range(5):
        stage.up(shop)
        stage.clock.tick(20)
        stage.down(shop)
        stage.clock.tick(10)
    stage.settle()
    assert stage.titles(hook) == ["shop is down"]
    assert "Went down 5 times" in stage.messages(hook)[0].text


def test_a_channel_hears_of_a_target_once_though_two_rules_tell_it(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop", "prod")
    with stage.store.write() as conn:
        rules.create(conn, {"name": "prod", "tags": ["prod"], "channel_ids": [hook]}, now_ms=0)
    stage.down(shop)
    stage.settle()
    stage.send(hook)
    stage.up(shop)
    stage.settle()
    assert stage.titles(hook) == ["shop is down", "shop recovered"]


def test_who_is_told_is_chosen_per_target_and_tag(stage: Stage) -> None:
    everyone, crew, boss = stage.channel("everyone"), stage.channel("crew"), stage.channel("boss")
    shop, blog, cron = stage.target("shop", "prod"), stage.target("blog"), stage.target("cron")
    stage.change_rule(stage.default_rule_id, channel_ids=[everyone])
    with stage.store.write() as conn:
        rules.create(conn, {"name": "prod", "tags": ["prod"], "channel_ids": [crew]}, now_ms=0)
        rules.create(conn, {"name": "cron", "target_ids": [cron], "channel_ids": [boss]}, now_ms=0)
    stage.down(shop, blog, cron)
    stage.settle()
    assert stage.titles(everyone) == ["3 targets are down"]
    assert stage.titles(crew) == ["shop is down"]
    assert stage.titles(boss) == ["cron is down"]


def test_a_certificate_is_told_apart_from_the_target(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.up(shop)
    stage.turn(Result.PASSED, shop, rule=CERTIFICATE, reason="")
    stage.turn(Result.WARNED, shop, rule=CERTIFICATE, reason="expires in 13 days")
    stage.settle()
    stage.send(hook)
    stage.turn(Result.PASSED, shop, rule=CERTIFICATE, reason="")
    stage.settle()
    assert stage.titles(hook) == ["Certificate of shop expires soon", "Certificate of shop is fine again"]


def test_a_channel_made_after_the_outage_hears_nothing_of_its_end(stage: Stage) -> None:
    shop = stage.target("shop")
    stage.down(shop)
    stage.settle()
    hook = stage.channel("hook")
    stage.up(shop)
    stage.settle()
    assert stage.messages(hook) == []


def test_a_recovery_does_not_follow_a_down_that_was_refused(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.down(shop)
    stage.settle()
    stage.send(hook, REFUSED)
    stage.up(shop)
    stage.settle()
    assert [(message.title, message.status) for message in stage.messages(hook)] == [("shop is down", "refused")]


def test_a_deleted_target_is_not_spoken_of(stage: Stage) -> None:
    hook, shop, blog = stage.channel("hook"), stage.target("shop"), stage.target("blog")
    stage.down(shop, blog)
    stage.outbox.advance()
    with stage.store.write() as conn:
        targets.delete(conn, shop, pipeline=stage.pipeline, now_ms=stage.clock.now_ms())
    stage.settle()
    assert stage.titles(hook) == ["blog is down"]
    with stage.store.read() as conn:
        assert notifications.waiting(conn) == []


def test_two_processes_route_each_transition_once(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.down(shop)
    other = stage.another_process()
    assert stage.outbox.route() == 1
    assert other.route() == 0
    stage.clock.tick(10)
    other.close_group(hook)
    stage.outbox.close_group(hook)
    assert stage.titles(hook) == ["shop is down"]


def test_a_clock_that_was_set_back_holds_nothing_up(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.down(shop)
    stage.outbox.advance()
    stage.clock.jump_ms(-86_400_000 * 400)
    assert stage.outbox.advance() == [hook]
    stage.send(hook)
    assert stage.messages(hook)[0].status == "delivered"


def test_messages_planned_by_a_clock_far_ahead_are_sent(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.down(shop)
    stage.settle()
    stage.send(hook, FAILED)
    stage.clock.jump_ms(-86_400_000 * 400)
    assert stage.outbox.advance() == [hook]


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────


def outage(stage: Stage, name: str = "shop") -> int:
    """A message that is due on every channel."""
    number = stage.target(name)
    stage.down(number)
    stage.settle()
    return number


def test_a_claimed_message_is_nobody_elses_until_the_claim_ends(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage)
    other = stage.another_process()
    first = stage.outbox.claim(hook)
    assert first is not None
    assert other.claim(hook) is None
    assert other.advance() == []
    stage.clock.tick(60)
    assert other.advance() == [hook]
    second = other.claim(hook)
    assert second is not None
    assert message_of(second.claimed.document) == message_of(first.claimed.document)


def test_a_sender_that_was_taken_for_dead_reports_late(stage: Stage) -> None:
    """Its delivery counts; its failure does not disturb whoever has taken over."""
    hook = stage.channel("hook")
    outage(stage)
    first = stage.outbox.claim(hook)
    stage.clock.tick(60)
    second = stage.another_process().claim(hook)
    assert first is not None
    assert second is not None
    stage.outbox.record(first.claimed, FAILED, stage.clock.now_ms())
    assert stage.messages(hook)[0].status == "sending"
    stage.outbox.record(first.claimed, DELIVERED, stage.clock.now_ms())
    assert stage.messages(hook)[0].status == "delivered"
    stage.outbox.record(second.claimed, FAILED, stage.clock.now_ms())
    assert stage.messages(hook)[0].status == "delivered"
    assert [attempt.ok for attempt in stage.messages(hook)[0].attempts] == [False, True, False]


def test_pauses_grow_and_every_attempt_is_visible(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage)
    for pause_s in (5, 15, 30, 60):
        assert stage.send(hook, FAILED) == "shop is down"
        stage.clock.tick(pause_s - 1)
        assert stage.outbox.advance() == []
        stage.clock.tick(1)
        assert stage.outbox.advance() == [hook]
    stage.send(hook, DELIVERED)
    (message,) = stage.messages(hook)
    assert message.status == "delivered"
    assert message.next_attempt_ms is None
    assert [(attempt.ok, attempt.detail) for attempt in message.attempts] == [
        (False, "answered 500"),
        (False, "answered 500"),
        (False, "answered 500"),
        (False, "answered 500"),
        (True, "answered 200 OK"),
    ]


def test_a_pause_that_is_asked_for_is_kept(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage)
    stage.send(hook, FAILED._replace(retry_after_s=90))
    stage.clock.tick(89)
    assert stage.outbox.advance() == []
    stage.clock.tick(1)
    assert stage.outbox.advance() == [hook]


def test_what_fails_for_three_days_is_abandoned_and_stays_visible(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage)
    for _ in range(200):
        if stage.send(hook, FAILED) is None:
            break
        stage.clock.tick(HOUR_S)
    (message,) = stage.messages(hook)
    assert message.status == "abandoned"
    assert len(message.attempts) == 73


def test_messages_of_a_channel_go_out_in_order(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage, "first")
    stage.send(hook, FAILED)
    outage(stage, "second")
    stage.clock.tick(5)
    assert stage.send(hook) == "first is down"
    assert stage.send(hook) == "second is down"


def test_a_later_message_does_not_overtake_one_that_pauses(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage, "first")
    for pause_s in (5, 15):
        stage.send(hook, FAILED)
        stage.clock.tick(pause_s)
    stage.send(hook, FAILED)  # pauses 30 s
    outage(stage, "second")
    assert stage.outbox.advance() == [hook]
    assert stage.send(hook) is None


def test_a_message_that_keeps_failing_does_not_hold_up_the_others_for_ever(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage, "poison")
    for pause_s in (5, 15, 30, 60, 120, 0):
        assert stage.send(hook, FAILED) == "poison is down"
        stage.clock.tick(pause_s)
    outage(stage, "second")
    assert stage.send(hook) == "second is down"
    # The channel works: what failed before is tried at once.
    assert stage.send(hook) == "poison is down"
    assert stage.send(hook) is None


def test_one_channel_does_not_wait_for_another(stage: Stage) -> None:
    broken, fine = stage.channel("broken"), stage.channel("fine")
    outage(stage)
    stage.send(broken, FAILED)
    assert stage.send(fine) == "shop is down"
    assert stage.messages(broken)[0].status == "pending"
    assert stage.messages(fine)[0].status == "delivered"


def test_what_was_given_up_can_be_sent_again_by_hand(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage)
    stage.send(hook, REFUSED)
    number = stage.messages(hook)[0].id
    with stage.store.write() as conn:
        assert notifications.retry(conn, number, now_ms=stage.clock.now_ms())
    key = stage.messages(hook)[0].delivery_key
    assert stage.send(hook) == "shop is down"
    assert stage.messages(hook)[0].delivery_key == key
    with stage.store.write() as conn:
        assert not notifications.retry(conn, number, now_ms=stage.clock.now_ms())
        assert not notifications.retry(conn, number + 1, now_ms=stage.clock.now_ms())


# ── channels that go ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("waiting", [True, False])
def test_switching_a_channel_off_gives_up_what_it_had(stage: Stage, waiting: bool) -> None:
    hook, other, shop = stage.channel("hook"), stage.channel("other"), stage.target("shop")
    stage.down(shop)
    stage.outbox.advance() if waiting else stage.settle()
    stage.change_channel(hook, enabled=False)
    assert stage.settle() == [other]
    assert stage.outbox.claim(hook) is None
    stage.change_channel(hook, enabled=True)
    assert stage.settle() == [other]
    if waiting:
        assert stage.messages(hook) == []
    else:
        (message,) = stage.messages(hook)
        assert message.status == "abandoned"
        assert message.attempts[-1].detail == "The channel was switched off."
    assert stage.send(other) == "shop is down"


def test_a_channel_that_is_off_hears_nothing_afterwards(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.change_channel(hook, enabled=False)
    stage.down(shop)
    stage.settle()
    stage.change_channel(hook, enabled=True)
    stage.settle()
    stage.up(shop)
    stage.settle()
    assert stage.messages(hook) == []


def test_deleting_a_channel_takes_it_out_of_rules_and_says_why_its_messages_end(stage: Stage) -> None:
    hook, other = stage.channel("hook"), stage.channel("other")
    with stage.store.write() as conn:
        made = rules.create(conn, {"name": "two", "channel_ids": [hook, other]}, now_ms=0)
    outage(stage)
    waiting = stage.target("waiting")
    stage.down(waiting)
    stage.outbox.advance()
    with stage.store.write() as conn:
        channels.delete(conn, hook, now_ms=stage.clock.now_ms())
    with stage.store.read() as conn:
        assert rules.get(conn, made.id).channel_ids == (other,)
        assert [one.channel_id for one in notifications.waiting(conn)] == [other]
    (message,) = stage.messages(hook)
    assert (message.channel_name, message.status) == (None, "abandoned")
    assert message.attempts[-1].detail == "The channel was deleted."


def test_how_a_channels_newest_attempt_went(stage: Stage) -> None:
    hook, quiet = stage.channel("hook"), stage.channel("quiet")
    stage.change_rule(stage.default_rule_id, channel_ids=[hook])
    outage(stage, "first")
    stage.send(hook, REFUSED)
    outage(stage, "second")
    stage.send(hook, DELIVERED)
    with stage.store.read() as conn:
        last = notifications.last_deliveries(conn)
    assert quiet not in last
    assert last[hook] == ("delivered", stage.clock.now_ms(), "answered 200 OK")


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────


def test_pages_of_messages(stage: Stage) -> None:
    hook, other = stage.channel("hook"), stage.channel("other")
    for name in ("first", "second", "third"):
        outage(stage, name)
        stage.send(hook)
    with stage.store.read() as conn:

        def titles(found: Sequence[Notification]) -> list[str]:
            return [message.title for message in found]

        newest = notifications.page(conn, limit=2, channel_id=hook)
        assert titles(newest) == ["third is down", "second is down"]
        rest = notifications.page(conn, limit=2, channel_id=hook, before_id=newest[-1].id)
        assert titles(rest) == ["first is down"]
        assert titles(notifications.page(conn, limit=9, status="delivered")) == titles(newest + rest)
        assert {message.channel_name for message in notifications.page(conn, limit=9, status="pending")} == {"other"}
        assert notifications.get(conn, newest[0].id) == newest[0]
        assert notifications.get(conn, 10_000) is None
    assert len(stage.messages(other)) == 3


# ── while it lasts ────────────────────────────────────────────────────────────────────────────────────


def test_an_outage_that_lasts_is_told_again_every_hour_in_one_message(stage: Stage) -> None:
    hook = stage.channel("hook")
    shop = outage(stage, "shop")
    stage.send(hook)
    stage.clock.tick(HOUR_S / 2)
    blog = outage(stage, "blog")
    stage.send(hook)
    assert stage.outbox.remind() == 0
    stage.clock.tick(HOUR_S / 2)
    assert stage.outbox.remind() == 2
    assert stage.outbox.remind() == 0
    stage.settle()
    stage.send(hook)
    assert stage.titles(hook)[2:] == ["2 targets are still down"]
    stage.up(blog)
    stage.settle()
    stage.send(hook)
    stage.clock.tick(HOUR_S)
    assert stage.outbox.remind() == 1
    stage.settle()
    stage.send(hook)
    stage.up(shop)
    stage.settle()
    assert stage.titles(hook)[3:] == ["blog recovered", "shop is still down", "shop recovered"]
    assert "(2 h" in stage.messages(hook)[4].text
    stage.send(hook)
    stage.clock.tick(2 * HOUR_S)
    assert stage.outbox.remind() == 0


def test_nobody_is_reminded_of_what_never_arrived_or_is_paused(stage: Stage) -> None:
    hook = stage.channel("hook")
    shop = outage(stage)
    stage.clock.tick(2 * HOUR_S)
    assert stage.outbox.remind() == 0  # the first message is still on its way
    stage.send(hook)
    assert stage.outbox.remind() == 1
    stage.settle()
    stage.send(hook)
    with stage.store.write() as conn:
        targets.set_enabled(conn, shop, False, pipeline=stage.pipeline, now_ms=stage.clock.now_ms())
    stage.clock.tick(2 * HOUR_S)
    assert stage.outbox.remind() == 0


def test_reminders_can_be_switched_off(stage: Stage) -> None:
    hook = stage.channel("hook")
    stage.change_rule(stage.default_rule_id, reminder_s=None)
    outage(stage)
    stage.send(hook)
    stage.clock.tick(5 * HOUR_S)
    assert stage.outbox.remind() == 0


def test_two_processes_remind_once(stage: Stage) -> None:
    hook = stage.channel("hook")
    outage(stage)
    stage.send(hook)
    stage.clock.tick(HOUR_S)
    assert stage.outbox.remind() + stage.another_process().remind() == 1


# ── machines ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_machine_is_told_of_and_its_recovery_too(stage: Stage) -> None:
    hook, web = stage.channel("hook"), stage.machine("web-1")
    stage.turn_machine(PASSED, web)
    stage.turn_machine(FAILED_AT, web, reason="CPU 97 %, critical from 95 %")
    assert stage.settle() == [hook]
    stage.send(hook)
    stage.clock.tick(290)
    stage.turn_machine(PASSED, web)
    stage.settle()
    assert stage.titles(hook) == ["web-1: CPU 97 %, critical from 95 %", "web-1: CPU is fine again"]
    down, up = stage.messages(hook)
    assert down.text.endswith(f"http://127.0.0.1:8080/machines/{web}")
    assert up.text.splitlines()[:2] == [
        "Was critical for 5 min, since 08:00 UTC",
        "Reason: CPU 97 %, critical from 95 %",
    ]


def test_each_rule_of_a_machine_is_told_by_itself_in_one_message(stage: Stage) -> None:
    hook, web = stage.channel("hook"), stage.machine("web-1")
    stage.turn_machine(FAILED_AT, web)
    stage.turn_machine(FAILED_AT, web, rule=REPORTING, reason="no sample for 15 s")
    stage.turn_machine(Result.UNMEASURED, web, reason="no sample of it came")
    stage.settle()
    (message,) = stage.messages(hook)
    assert message.title == "CPU of 1 machine is critical, 1 machine is silent"
    stage.send(hook)
    stage.turn_machine(PASSED, web, rule=REPORTING)
    stage.settle()
    stage.send(hook)
    stage.turn_machine(PASSED, web)
    stage.settle()
    assert stage.titles(hook)[1:] == ["web-1 is back", "web-1: CPU is fine again"]


def test_many_machines_at_once_are_one_message(stage: Stage) -> None:
    hook = stage.channel("hook")
    hosts = [stage.machine(f"web-{number}") for number in range(1, 31)]
    stage.turn_machine(FAILED_AT, *hosts, rule=REPORTING, reason="no sample for 15 s")
    stage.down(stage.target("shop"))
    stage.settle()
    (message,) = stage.messages(hook)
    assert message.title == "30 machines are silent, 1 target is down"
    assert len(message.text.splitlines()) == 22


def test_who_is_told_is_chosen_per_machine_and_tag(stage: Stage) -> None:
    everyone, crew, boss = stage.channel("everyone"), stage.channel("crew"), stage.channel("boss")
    shop = stage.target("shop", "prod")
    web, db, build = stage.machine("web-1", "prod"), stage.machine("db-1"), stage.machine("build")
    assert shop == web, "this is about machines with the number of a target"
    stage.change_rule(stage.default_rule_id, channel_ids=[everyone])
    with stage.store.write() as conn:
        rules.create(conn, {"name": "prod", "tags": ["prod"], "channel_ids": [crew]}, now_ms=0)
        rules.create(conn, {"name": "db", "machine_ids": [db], "channel_ids": [boss]}, now_ms=0)
        rules.create(conn, {"name": "shop", "target_ids": [shop], "channel_ids": [boss]}, now_ms=0)
    stage.turn_machine(FAILED_AT, web, db, build)
    stage.settle()
    assert stage.titles(everyone) == ["CPU of 3 machines is critical"]
    assert stage.titles(crew) == ["web-1: CPU 97 %"]
    assert stage.titles(boss) == ["db-1: CPU 97 %"]


def test_a_machine_is_not_taken_for_the_target_of_the_same_number(stage: Stage) -> None:
    """They go down and recover across each other, and each is told of by its own name."""
    hook, shop, web = stage.channel("hook"), stage.target("shop"), stage.machine("web-1")
    assert shop == web
    stage.down(shop)
    stage.settle()
    stage.send(hook)
    stage.turn_machine(FAILED_AT, web, rule=REACHABLE, reason="as if it were a target")
    stage.settle()
    stage.send(hook)
    stage.up(shop)
    stage.settle()
    stage.send(hook)
    stage.turn_machine(PASSED, web, rule=REACHABLE)
    stage.settle()
    assert stage.titles(hook) == ["shop is down", "web-1 is down", "shop recovered", "web-1 recovered"]


def test_a_machine_has_no_part_in_what_targets_depend_on(stage: Stage) -> None:
    """Neither is it held back by what is above the target of its number, nor counted where that target would be."""
    hook, switch = stage.channel("hook"), stage.target("switch")
    other, shop, web = stage.machine("other"), stage.target("shop", parents=[switch]), stage.machine("web-1")
    assert (switch, shop) == (other, web)
    stage.up(switch, shop)
    stage.down(switch)
    stage.turn_machine(FAILED_AT, web, rule=REACHABLE, reason="as if it were a target")
    stage.settle()
    (message,) = stage.messages(hook)
    assert message.title == "1 target is down, 1 machine is down"
    assert "depend" not in message.text
    stage.send(hook)
    stage.turn_machine(FAILED_AT, other, rule=REACHABLE, reason="as if it were a target")
    stage.down(shop)
    stage.up(switch)
    stage.settle()
    assert stage.titles(hook)[1] == "1 machine is down, 1 target recovered", "shop waits until it is looked at again"


def test_a_machine_that_was_deleted_is_not_spoken_of(stage: Stage) -> None:
    hook, web, db = stage.channel("hook"), stage.machine("web-1"), stage.machine("db-1")
    stage.turn_machine(FAILED_AT, web, db)
    stage.outbox.advance()
    with stage.store.write() as conn:
        machines.delete(conn, web, stage.clock.now_ms())
    stage.settle()
    stage.turn_machine(PASSED, web)
    stage.settle()
    assert stage.titles(hook) == ["db-1: CPU 97 %"]


def test_what_lasts_of_a_machine_is_told_again_each_rule_by_itself(stage: Stage) -> None:
    hook, shop, web = stage.channel("hook"), stage.target("shop"), stage.machine("web-1")
    assert shop == web
    stage.up(shop)
    stage.turn_machine(FAILED_AT, web)
    stage.settle()
    stage.send(hook)
    assert stage.outbox.remind() == 0
    stage.clock.tick(HOUR_S)
    assert stage.outbox.remind() == 1
    stage.settle()
    stage.send(hook)
    stage.turn_machine(FAILED_AT, web, rule=MEMORY, reason="memory 99 %")
    stage.settle()
    stage.send(hook)
    stage.clock.tick(HOUR_S)
    assert stage.outbox.remind() == 2
    stage.settle()
    stage.send(hook)
    stage.turn_machine(PASSED, web)
    stage.turn_machine(PASSED, web, rule=MEMORY)
    stage.settle()
    stage.send(hook)
    assert stage.titles(hook) == [
        "web-1: CPU 97 %",
        "web-1: CPU is still critical",
        "web-1: memory 99 %",
        "CPU of 1 machine is still critical, memory of 1 machine is still critical",
        "CPU of 1 machine is fine again, memory of 1 machine is fine again",
    ]
    with stage.store.write() as conn:
        machines.delete(conn, web, stage.clock.now_ms())
    stage.clock.tick(2 * HOUR_S)
    assert stage.outbox.remind() == 0


def test_a_parent_of_the_target_of_the_same_number_hushes_no_reminder_of_a_machine(stage: Stage) -> None:
    hook, switch = stage.channel("hook"), stage.target("switch")
    stage.machine("other")
    shop, web = stage.target("shop", parents=[switch]), stage.machine("web-1")
    assert shop == web
    stage.turn_machine(FAILED_AT, web, rule=REACHABLE, reason="")
    stage.settle()
    stage.send(hook)
    stage.down(switch)
    stage.settle()
    stage.send(hook)
    stage.clock.tick(HOUR_S)
    assert stage.outbox.remind() == 2
    stage.settle()
    (newest,) = stage.messages(hook)[-1:]
    assert {line.split()[1] for line in newest.text.splitlines()[:2]} == {"web-1", "switch"}


# ── what may not happen ───────────────────────────────────────────────────────────────────────────────


def test_a_transition_that_cannot_be_routed_stays_in_line_and_holds_nobody_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin.core.alerting import notices_for
    from tocsin.services import alerts

    hook, shop, blog = stage.channel("hook"), stage.target("shop"), stage.target("blog")
    defect = True

    def sometimes(new: Recorded, past: object, **more: object) -> object:
        if defect and new.transition.key.subject.id == shop:
            raise RuntimeError("a defect")
        return notices_for(new, past, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(alerts, "notices_for", sometimes)
    stage.down(shop, blog)
    stage.settle()
    assert stage.titles(hook) == ["blog is down"]
    defect = False
    stage.settle()
    assert stage.titles(hook) == ["blog is down", "shop is down"]


def test_every_event_is_stored_under_its_own_name(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.change_rule(stage.default_rule_id, events=["down", "recovered", "degraded", "certificate"])
    stage.up(shop)
    stage.turn(Result.WARNED, shop, reason="slow")
    stage.settle()
    sending = stage.outbox.claim(hook)
    assert sending is not None
    (item,) = message_of(sending.claimed.document).items
    assert item.event is Event.DEGRADED
    assert item.reason == "slow"


def in_line(stage: Stage) -> int:
    with stage.store.read() as conn:
        return len(notifications.in_line(conn))


def test_many_processes_at_once_tell_everything_once(stage: Stage) -> None:
    """Down and up of every target wait together: whoever routes an up must see the notice of its down."""
    hook = stage.channel("hook")
    numbers = [stage.target(f"target {number}") for number in range(30)]
    for _ in range(2):
        stage.down(*numbers)
        stage.up(*numbers)
    processes = [stage.another_process() for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(3) as threads:
        patch.setattr("tocsin.services.alerts.BATCH", 7)

        def route_all(process: Outbox) -> int:
            routed = 0
            while in_line(stage):
                routed += process.route()
            return routed

        assert sum(threads.map(route_all, processes)) == 120
        stage.clock.tick(10)
        list(threads.map(lambda process: process.close_group(hook), processes))
        assert stage.titles(hook) == ["30 targets were down briefly"]
        sendings = [sending for sending in threads.map(lambda process: process.claim(hook), processes) if sending]
        assert len(sendings) == 1
    items = message_of(sendings[0].claimed.document).items
    assert [item.times for item in items] == [2] * 30
