"""Transitions on their way to people: routed, grouped, sent, and told again while they last.

Carries out what ``core.alerting`` decides, over the outbox of ``store.notifications``. Each step is one transaction and
starts from what the database holds, so any process may do it and a killed one loses nothing. The bus only makes it
sooner. Knows no kind of channel.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from sqlalchemy import Connection

from tocsin.bus.base import Bell, Bus, Topic
from tocsin.catalog import channels as catalog_channels
from tocsin.channels.base import Carrier
from tocsin.channels.frame import Delivery, deliver
from tocsin.core.alerting import (
    AlertTiming,
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
from tocsin.core.outcome import StateKey
from tocsin.core.target import TARGET
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.net import Network
from tocsin.lib.threads import TaskSet, Threads
from tocsin.lib.vault import Vault, VaultError
from tocsin.store import channels, notifications, rules
from tocsin.store.channels import ChannelRow
from tocsin.store.engine import Store, StoreError
from tocsin.store.notifications import Attempt, Claimed, Status

EVERY_S = 2.0
"""How often it looks for work when nothing rings."""
REMIND_EVERY_S = 30.0
BATCH = 500
"""The most transitions routed in one transaction."""
SENDING_AT_ONCE = 64
"""The most channels that are sent to at the same time, one message each."""
RECORD_AGAIN_S = 1.0

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

    def advance(self) -> list[int]:
        """Routes what is new and writes the messages that are ripe; returns the channels with something to send."""
        now_ms = self._clock.now_ms()
        with self._store.read() as conn:
            unrouted = notifications.any_unrouted(conn)
        while unrouted:
            unrouted = self.route() > 0
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

    def route(self) -> int:
        """Turns transitions nobody has taken yet into notices; returns how many transitions those were."""
        now_ms = self._clock.now_ms()
        with self._store.write() as conn:
            claimed = notifications.claim_unrouted(conn, BATCH)
            if not claimed:
                return 0
            pasts, said = _background(conn, [recorded.id for recorded in claimed])
            labels = notifications.labels(conn, {one.transition.key.subject.id for one in claimed if _is_target(one)})
            told = [stored.rule for stored in rules.all_rules(conn)]
            channel_ids = channels.enabled_ids(conn)
            notices: list[Notice] = []
            routed: list[int] = []
            for recorded in claimed:
                label = labels.get(recorded.transition.key.subject.id) if _is_target(recorded) else None
                if label is not None:
                    past = _before(pasts[recorded.transition.key], recorded.id)
                    try:
                        notices += notices_for(
                            recorded,
                            past,
                            target_id=recorded.transition.key.subject.id,
                            tags=label.tags,
                            said=_about(past, said),
                            rules=told,
                            channel_ids=channel_ids,
                        )
                    except Exception:
                        self._complain("route", recorded.id, "a transition cannot be routed; it stays in line")
                        continue
                routed.append(recorded.id)
            notifications.add_notices(conn, notices, at_ms=now_ms)
            notifications.mark_routed(conn, routed, at_ms=now_ms)
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
            labels = notifications.labels(conn, {recorded.transition.key.subject.id for recorded in places.values()})
            news: list[News] = []
            kept: list[int] = []
            idle: list[int] = []
            for one in waiting:
                recorded = places.get(one.notice.transition_id)
                key = recorded.transition.key if recorded is not None else None
                label = labels.get(key.subject.id) if key is not None else None
                if channel is None or not channel.enabled or recorded is None or key is None or label is None:
                    idle.append(one.id)  # the channel is off, or the target has been deleted since
                    continue
                before = standing(_before(pasts[key], recorded.id))
                news.append(News(one.notice.event, recorded, before, key.subject.id, label.name))
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


def _is_target(recorded: Recorded) -> bool:
    return recorded.transition.key.subject.kind == TARGET


def _reminders_due(conn: Connection, told: Sequence[Rule], now_ms: int) -> list[Notice]:
    if not any(rule.enabled and rule.reminder_s for rule in told):
        return []
    pasts, said = _background(conn, notifications.last_of_those_down(conn))
    down = [StillDown(past, _about(past, said)) for past in pasts.values()]
    return reminders(down, rules=told, channel_ids=channels.enabled_ids(conn), now_ms=now_ms)


def _background(
    conn: Connection, transition_ids: Sequence[int] | set[int]
) -> tuple[dict[StateKey, list[Recorded]], dict[int, list[Said]]]:
    """What led up to these transitions, and what was said about all of it."""
    pasts = notifications.histories(conn, transition_ids)
    ids = [recorded.id for past in pasts.values() for recorded in past]
    return pasts, notifications.said_about(conn, ids)


def _before(past: Sequence[Recorded], transition_id: int) -> list[Recorded]:
    return [recorded for recorded in past if recorded.id < transition_id]


def _about(past: Sequence[Recorded], said: dict[int, list[Said]]) -> list[Said]:
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
        for channel_id in await threads.run(self._outbox.advance):
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
