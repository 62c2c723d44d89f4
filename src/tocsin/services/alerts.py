"""Transitions on their way to people: routed, grouped, sent, and told again while they last.

Carries out what ``core.alerting`` decides, over the outbox of ``store.notifications``. Each step is one transaction and
starts from what the database holds, so any process may do it and a killed one loses nothing. The bus only makes it
sooner. Knows no kind of channel.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from sqlalchemy import Connection

from tocsin.bus.base import Bell, Bus, Topic
from tocsin.catalog import channels as catalog_channels
from tocsin.channels.base import Carrier
from tocsin.channels.frame import Delivery, deliver
from tocsin.core.alerting import (
    AlertTiming,
    Event,
    News,
    Notice,
    Recorded,
    Rule,
    Said,
    StillDown,
    compose,
    is_ripe,
    message_of,
    next_attempt_ms,
    notices_for,
    reminders,
    standing,
)
from tocsin.core.decide import Verdict
from tocsin.core.dependencies import TELL, Judgement, Stance, Telling, Trouble, judge, may_be_laid_to_others
from tocsin.core.outcome import StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.net import Network
from tocsin.lib.threads import TaskSet, Threads
from tocsin.lib.vault import Vault, VaultError
from tocsin.store import channels, notifications, parents, rules
from tocsin.store.channels import ChannelRow
from tocsin.store.engine import Store, StoreError
from tocsin.store.notifications import Attempt, Claimed, Label, Status, Unrouted

EVERY_S = 2.0
"""How often it looks for work when nothing rings."""
REMIND_EVERY_S = 30.0
EVERYTHING_EVERY_S = 30.0
"""How often it looks at all that is held back, also where nothing has happened that it knows of."""
BATCH = 500
"""The most transitions routed in one transaction."""
SENDING_AT_ONCE = 64
"""The most channels that are sent to at the same time, one message each."""
RECORD_AGAIN_S = 1.0
UNROUTABLE = "a transition cannot be routed; it stays in line"

log = get_logger("alerts")


class Sending(NamedTuple):
    """A message that is ours to send, and the channel it goes to."""

    claimed: Claimed
    channel: ChannelRow


class Outbox:
    """The steps that touch the database. Every method blocks, is one or a few transactions, and raises the store's
    errors; may be called from any thread."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        clock: Clock,
        link_base: str,
        timing: AlertTiming,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._link_base = link_base
        self._timing = timing
        self._jitter = jitter
        self._complained: set[tuple[str, int]] = set()

    def advance(self, *, everything: bool = False) -> list[int]:
        """Routes what is new and writes the messages that are ripe; returns the channels with something to send.

        ``everything``: looks at all that is held back, also where nothing has changed that would let it go.
        """
        now_ms = self._clock.now_ms()
        routed = self.route(everything=everything)
        while routed:
            routed = self.route()
        with self._store.read() as conn:
            waiting = notifications.waiting(conn)
        for channel_id, first_ms, last_ms in waiting:
            if is_ripe(first_ms=first_ms, last_ms=last_ms, now_ms=now_ms, timing=self._timing):
                try:
                    self.close_group(channel_id)
                except StoreError:
                    raise
                except Exception:
                    self._complain("message", channel_id, "a message cannot be written; its notices wait")
        with self._store.read() as conn:
            return notifications.channels_with_due(conn, now_ms=self._clock.now_ms())

    def route(self, *, everything: bool = False) -> int:
        """Turns transitions nobody has taken yet into notices, the oldest of each state; returns how many those were.

        1. What is in line is found in one pass; what is held back and stays so is left alone. Nobody is locked.
        2. The rest is taken, BATCH by BATCH, each in a transaction of its own, and only what no other process has taken
           meanwhile. It is routed, or held back because of a target it depends on.
        """
        now_ms = self._clock.now_ms()
        with self._store.read() as conn:
            line = notifications.in_line(conn, everything=everything)
            held = notifications.unrouted(conn, [one.id for one in line if one.held])
            above = _above(conn, held)
        staying = {one.recorded.id for one in held if self._stays(one, above, now_ms)}
        numbers = [one.id for one in line if one.id not in staying]
        return sum(self._take(numbers[start : start + BATCH]) for start in range(0, len(numbers), BATCH))

    def _stays(self, held: Unrouted, above: _Above, now_ms: int) -> bool:
        try:
            judgement = above.judge(held, now_ms)
        except Exception:
            self._complain("route", held.recorded.id, UNROUTABLE)
            return True
        return judgement.waits_for == held.waits_for

    def _take(self, transition_ids: Collection[int]) -> int:
        now_ms = self._clock.now_ms()
        with self._store.write() as conn:
            claimed = notifications.claim_unrouted(conn, transition_ids)
            if not claimed:
                return 0
            known = _Known.about(conn, claimed)
            notices: list[Notice] = []
            routed: list[int] = []
            held: dict[int, int] = {}
            for one in claimed:
                try:
                    fresh, judgement = _decided(one, known, now_ms)
                except Exception:
                    self._complain("route", one.recorded.id, UNROUTABLE)
                    continue
                if judgement.waits_for is not None:
                    held[one.recorded.id] = judgement.waits_for
                    continue
                routed.append(one.recorded.id)
                if judgement.telling is Telling.TELL:
                    notices += fresh
            notifications.add_notices(conn, notices, at_ms=now_ms)
            notifications.mark_routed(conn, routed, at_ms=now_ms)
            notifications.hold_back(conn, held)
            return len(routed)

    def close_group(self, channel_id: int) -> None:
        """Puts what waits for a channel into one message, if it is still ripe now that nobody else can take it."""
        now_ms = self._clock.now_ms()
        with self._store.write() as conn:
            channel = channels.get_for_change(conn, channel_id)
            waiting = notifications.take_waiting(conn, channel_id)
            if not waiting or not is_ripe(
                first_ms=waiting[0].created_ms, last_ms=waiting[-1].created_ms, now_ms=now_ms, timing=self._timing
            ):
                return
            pasts, _ = _background(conn, {one.notice.transition_id for one in waiting})
            places = {recorded.id: recorded for past in pasts.values() for recorded in past}
            labels = notifications.labels(conn, {recorded.transition.key.subject for recorded in places.values()})
            lasting = {
                places[one.notice.transition_id].transition.key.subject
                for one in waiting
                if one.notice.event in (Event.DOWN, Event.REMINDER) and one.notice.transition_id in places
            }
            below = parents.dependents_down(conn, [number for kind, number in lasting if kind == TARGET])
            news: list[News] = []
            kept: list[int] = []
            idle: list[int] = []
            for one in waiting:
                recorded = places.get(one.notice.transition_id)
                key = recorded.transition.key if recorded is not None else None
                label = labels.get(key.subject) if key is not None else None
                if channel is None or not channel.enabled or recorded is None or key is None or label is None:
                    idle.append(one.id)  # the channel is off, or the subject has been deleted since
                    continue
                before = standing(_before(pasts[key], recorded.id))
                along = below.get(key.subject.id, 0) if key.subject.kind == TARGET else 0
                news.append(News(one.notice.event, recorded, before, label.name, along))
                kept.append(one.id)
            notifications.drop_notices(conn, idle)
            if news:
                message = compose(
                    news,
                    link_base=self._link_base,
                    delivery_key=catalog_channels.new_delivery_key(),
                    now_ms=now_ms,
                )
                notifications.add_notification(conn, channel_id, message, notice_ids=kept)

    def remind(self) -> int:
        """Makes the notices that are due because an outage lasts; returns how many."""
        now_ms = self._clock.now_ms()
        with self._store.read() as conn:
            # Mostly nothing is due; that is found out without holding up writers.
            if not _reminders_due(conn, [stored.rule for stored in rules.all_rules(conn)], now_ms):
                return 0
        with self._store.write() as conn:
            # Locked, so that of two processes the second sees what the first has just said.
            told = [stored.rule for stored in rules.all_for_change(conn)]
            due = _reminders_due(conn, told, now_ms)
            notifications.add_notices(conn, due, at_ms=now_ms)
            return len(due)

    def claim(self, channel_id: int) -> Sending | None:
        """The channel's next message, ours for a while; None when there is none to send."""
        now_ms = self._clock.now_ms()
        with self._store.write() as conn:
            channel = channels.get(conn, channel_id)
            if channel is None or not channel.enabled:
                return None
            claimed = notifications.claim(
                conn,
                channel_id,
                now_ms=now_ms,
                until_ms=now_ms + self._timing.claim_ms,
                patience=self._timing.patience_attempts,
            )
            return None if claimed is None else Sending(claimed, channel)

    def record(self, claimed: Claimed, delivery: Delivery, began_ms: int) -> Status:
        """Writes down how sending went; returns what the message is now."""
        now_ms = self._clock.now_ms()
        status, again_ms = self._verdict(claimed, delivery, now_ms)
        attempt = Attempt(began_ms, delivery.duration_ms, delivery.ok, delivery.detail)
        with self._store.write() as conn:
            notifications.record(conn, claimed, attempt, status=status, next_attempt_ms=again_ms, now_ms=now_ms)
            if delivery.ok:
                notifications.hasten(conn, claimed.channel_id, now_ms=now_ms)
        return status

    def _verdict(self, claimed: Claimed, delivery: Delivery, now_ms: int) -> tuple[Status, int | None]:
        if delivery.ok:
            return "delivered", None
        if not delivery.retryable:
            return "refused", None
        again_ms = next_attempt_ms(
            failures=claimed.failures + 1,
            created_ms=claimed.created_ms,
            now_ms=now_ms,
            jitter=self._jitter(),
            retry_after_s=delivery.retry_after_s,
            timing=self._timing,
        )
        return ("abandoned" if again_ms is None else "pending"), again_ms

    async def send(self, sending: Sending, carrier: Carrier) -> Delivery:
        """Sends a claimed message, outside any transaction. Never raises for what is wrong with it or its channel."""
        try:
            message = message_of(sending.claimed.document)
        except (KeyError, TypeError, ValueError):
            return Delivery(False, "The stored message cannot be read by this version.", 0)
        try:
            kind, settings = catalog_channels.destination(sending.channel, self._vault)
        except VaultError as error:
            return Delivery(False, str(error), 0, retryable=True)
        return await deliver(kind, settings, message, carrier, deadline_s=self._timing.send_deadline_s)

    def _complain(self, step: str, number: int, text: str) -> None:
        """Once for each: it is tried again every round."""
        if (step, number) not in self._complained:
            self._complained.add((step, number))
            log.exception(text, number=number)


class _Above(NamedTuple):
    """What is above some targets, and how it stands; and how they stand themselves where that matters."""

    ancestors: Mapping[int, set[int]]
    stances: Mapping[int, Stance]

    def judge(self, one: Unrouted, now_ms: int) -> Judgement:
        """What becomes of a transition, as far as others have a part in it."""
        change = one.recorded.transition
        if not may_be_laid_to_others(change):
            return TELL
        return self.judge_trouble(
            change.key.subject.id, Trouble(change.before, change.at_ms, one.recorded_ms, one.ended_ms), now_ms
        )

    def judge_trouble(self, target_id: int, trouble: Trouble, now_ms: int) -> Judgement:
        above = [self.stances[number] for number in self.ancestors.get(target_id, ()) if number in self.stances]
        return judge(trouble, self.stances.get(target_id), above, now_ms)


def _above(conn: Connection, troubled: Sequence[Unrouted]) -> _Above:
    changes = [one.recorded.transition for one in troubled if may_be_laid_to_others(one.recorded.transition)]
    return _above_of(conn, {change.key.subject.id: change.at_ms for change in changes})


def _above_of(conn: Connection, began: Mapping[int, int]) -> _Above:
    """What is above these targets, and how they stand; ``began``: since when each has been in trouble."""
    ancestors = {number: above for number, above in parents.ancestors(conn, began).items() if above}
    if not ancestors:
        return _Above({}, {})
    since_ms = min(began[number] for number in ancestors)
    stances = notifications.stances(conn, set().union(*ancestors.values()), since_ms=since_ms)
    were_down = {number for number, stance in stances.items() if stance.downs}
    to_look_at = [number for number, above in ancestors.items() if number not in stances and above & were_down]
    return _Above(ancestors, stances | notifications.stances(conn, to_look_at, since_ms=since_ms))


class _Known(NamedTuple):
    """What routing some transitions takes, read at once for all of them."""

    pasts: Mapping[StateKey, Sequence[Recorded]]
    said: Mapping[int, Sequence[Said]]
    labels: Mapping[Subject, Label]
    rules: Sequence[Rule]
    channel_ids: Sequence[int]
    above: _Above

    @classmethod
    def about(cls, conn: Connection, claimed: Sequence[Unrouted]) -> _Known:
        pasts, said = _background(conn, [one.recorded.id for one in claimed])
        return cls(
            pasts,
            said,
            notifications.labels(conn, {one.recorded.transition.key.subject for one in claimed}),
            [stored.rule for stored in rules.all_rules(conn)],
            channels.enabled_ids(conn),
            _above(conn, claimed),
        )


def _decided(one: Unrouted, known: _Known, now_ms: int) -> tuple[list[Notice], Judgement]:
    """What a transition gives to tell, and whether it is told."""
    recorded = one.recorded
    key = recorded.transition.key
    label = known.labels.get(key.subject)
    if label is None or key != key.headline:
        return [], TELL  # deleted since; or what one location found, left to be told by a version without headlines
    past = _before(known.pasts[key], recorded.id)
    notices = notices_for(
        recorded,
        past,
        tags=label.tags,
        said=_about(past, known.said),
        rules=known.rules,
        channel_ids=known.channel_ids,
    )
    # Whoever heard of trouble hears of its end; and where nobody would hear anything, there is nothing to hold back.
    if not notices or any(notice.event is Event.RECOVERED for notice in notices):
        return notices, TELL
    return notices, known.above.judge(one, now_ms)


def _reminders_due(conn: Connection, told: Sequence[Rule], now_ms: int) -> list[Notice]:
    if not any(rule.enabled and rule.reminder_s for rule in told):
        return []
    pasts, said = _background(conn, notifications.last_of_those_down(conn))
    down = {key: StillDown(past, _about(past, said)) for key, past in pasts.items()}
    channel_ids = channels.enabled_ids(conn)
    if not reminders(down.values(), rules=told, channel_ids=channel_ids, now_ms=now_ms):
        return []
    # What an ancestor explains is not told again. Asked only now, because mostly nothing is due. What was told once
    # waits for nobody's first look: it was noticed long ago.
    troubles = {
        key: Trouble(Verdict.UP, standing(one.past).since_ms, 0)
        for key, one in down.items()
        if may_be_laid_to_others(one.past[-1].transition)
    }
    above = _above_of(conn, {key.subject.id: trouble.began_ms for key, trouble in troubles.items()})
    lasting = [
        one
        for key, one in down.items()
        if key not in troubles or above.judge_trouble(key.subject.id, troubles[key], now_ms) == TELL
    ]
    return reminders(lasting, rules=told, channel_ids=channel_ids, now_ms=now_ms)


def _background(
    conn: Connection, transition_ids: Sequence[int] | set[int]
) -> tuple[dict[StateKey, list[Recorded]], dict[int, list[Said]]]:
    """What led up to these transitions, and what was said about all of it."""
    pasts = notifications.histories(conn, transition_ids)
    ids = [recorded.id for past in pasts.values() for recorded in past]
    return pasts, notifications.said_about(conn, ids)


def _before(past: Sequence[Recorded], transition_id: int) -> list[Recorded]:
    return [recorded for recorded in past if recorded.id < transition_id]


def _about(past: Sequence[Recorded], said: Mapping[int, Sequence[Said]]) -> list[Said]:
    return [word for recorded in past for word in said.get(recorded.id, ())]


class Alerts:
    """The loop around the outbox: ``run`` until stopped. ``network`` opens the way out on the loop it runs on."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        bus: Bus,
        clock: Clock,
        network: Callable[[], AbstractAsyncContextManager[Network]],
        link_base: str,
        timing: AlertTiming | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._network = network
        self._outbox = Outbox(
            store=store,
            vault=vault,
            clock=clock,
            link_base=link_base,
            timing=timing or AlertTiming(),
            jitter=jitter,
        )
        self._busy: set[int] = set()
        self._slots = asyncio.Semaphore(SENDING_AT_ONCE)
        self._remind_at_s = 0.0
        self._everything_at_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then sends under way may end. Cancelled, it leaves them to whoever comes next."""
        threads = Threads("alerts", 2)
        sends = TaskSet(_send_failed)
        try:
            async with self._network() as network, self._bus.listen(_TOPICS) as bell:
                carrier = Carrier(network, self._clock)
                async with asyncio.TaskGroup() as group:
                    rounds = group.create_task(self._rounds(bell, threads, sends, carrier))
                    await stop.wait()
                    rounds.cancel()
                try:
                    await sends.wait(AlertTiming().send_deadline_s)
                finally:
                    await sends.close()
        finally:
            threads.close()

    async def _rounds(self, bell: Bell, threads: Threads, sends: TaskSet, carrier: Carrier) -> None:
        waits_for_database = False
        while True:
            try:
                await self._round(threads, sends, carrier)
                waits_for_database = False
            except StoreError as error:
                if not waits_for_database:
                    log.warning("alerts wait for the database", reason=str(error))
                waits_for_database = True
            except Exception:
                log.exception("a round of alerts failed; the next one tries again")
            await bell.wait(EVERY_S)

    async def _round(self, threads: Threads, sends: TaskSet, carrier: Carrier) -> None:
        everything = self._clock.monotonic() >= self._everything_at_s
        due = await threads.run(self._outbox.advance, everything=everything)
        if everything:
            self._everything_at_s = self._clock.monotonic() + EVERYTHING_EVERY_S
        for channel_id in due:
            if channel_id not in self._busy:
                self._busy.add(channel_id)
                sends.start(self._send_all(channel_id, threads, carrier))
        # Last, so that news goes out whatever becomes of it.
        if self._clock.monotonic() >= self._remind_at_s:
            self._remind_at_s = self._clock.monotonic() + REMIND_EVERY_S
            await threads.run(self._outbox.remind)

    async def _send_all(self, channel_id: int, threads: Threads, carrier: Carrier) -> None:
        """Everything that is due on one channel, one after the other; other channels do not wait for it."""
        try:
            async with self._slots:
                while (sending := await threads.run(self._outbox.claim, channel_id)) is not None:
                    await self._send(sending, threads, carrier)
        finally:
            self._busy.discard(channel_id)

    async def _send(self, sending: Sending, threads: Threads, carrier: Carrier) -> None:
        """Send, then record: in this order, so that a crash in between repeats a message and never loses one."""
        began_ms = self._clock.now_ms()
        delivery = await self._outbox.send(sending, carrier)
        while True:
            try:
                status = await threads.run(self._outbox.record, sending.claimed, delivery, began_ms)
                break
            except StoreError as error:
                # It has been sent; what keeps it from being sent again is this record.
                log.warning("a delivery waits to be recorded", reason=str(error), notification=sending.claimed.id)
                await asyncio.sleep(RECORD_AGAIN_S)
        metrics.NOTIFICATIONS.labels("failed" if status == "pending" else status).inc()
        if not delivery.ok:
            log.warning(
                "a message was not delivered",
                notification=sending.claimed.id,
                channel=sending.channel.name,
                status=status,
                detail=delivery.detail,
            )
        self._bus.ring("notifications")


_TOPICS: tuple[Topic, ...] = ("transitions", "notifications", "channels")


def _send_failed(error: BaseException) -> None:
    if isinstance(error, StoreError):
        log.warning("sending waits for the database", reason=str(error))
    else:
        log.error("sending failed unexpectedly; the message is tried again", exc_info=error)
