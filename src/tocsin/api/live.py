"""The live view: how every target and every machine stands, at once, and then what changes: of targets at most once a
second, of machines as soon as it is stored.

One reader per process, and only while somebody watches; every watcher is told the same. What the bus hands round is
shown at once; the database is asked for what changed when that is rung, and for everything now and then, so that with
any bus, or none that works, the view is right again within seconds. Nobody waits for a slow watcher: it is sent a fresh
whole when it can take more.

Two loops, one for targets and one for machines, so that neither waits for the other's questions. What they find they
put into the pictures, and hand to the watchers, under one lock, which no loop holds while the database answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from tocsin.api import history
from tocsin.api.answers import milliseconds, moment
from tocsin.api.context import ApiContext
from tocsin.api.guard import identify, key_of, same_origin
from tocsin.api.picture import NOT_MOVED, MachineLook, MachinePicture, Moved, Picture, Told
from tocsin.bus.base import Current, Feed, Topic
from tocsin.catalog import machines, targets
from tocsin.core.outcome import StateKey
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.lib.log import get_logger
from tocsin.lib.threads import TaskSet
from tocsin.lib.watchers import Watcher, Watchers
from tocsin.store import machines as store_machines
from tocsin.store import states as store_states
from tocsin.store import targets as store_targets
from tocsin.store import transitions as store_transitions
from tocsin.store.engine import StoreError
from tocsin.store.targets import Standing
from tocsin.store.transitions import StoredTransition

log = get_logger("live")

AT_MOST_EVERY_S: Final = 1.0
MACHINES_AT_MOST_EVERY_S: Final = 0.1
MACHINES_SHARE: Final = 0.2
"""Of the time that looking at machines may take up: where that is slow it is done less often, down to
``AT_MOST_EVERY_S``."""
LOOKS: Final = 5
"""By so many it is judged how long one takes."""
AT_LEAST_EVERY_S: Final = 10.0
"""Without a bell: what another process wrote is seen this soon."""
WHOLE_EVERY_S: Final = 30.0
"""How often everything is read although nothing seems to be missing."""
SHARE: Final = 0.05
"""Of the time that reading everything may take up: where there are many targets it is done less often, down to
``AT_LEAST_EVERY_S``."""
MOST_NAMED: Final = 2000
"""From this many changed targets on, reading all of them is no more work."""
MOST_TRANSITIONS: Final = 100
"""In one message, the newest."""
MOST_WATCHERS: Final = 1000
LOOK_AGAIN_S: Final = 60.0
"""How often it is asked again whether a watcher may."""
_TOPICS: Final[tuple[Topic, ...]] = ("checks", "transitions", "targets")
_encode = msgspec.json.Encoder().encode
_NOTHING: Final = np.empty((0, 0), dtype=np.int64)

# Close codes of RFC 6455; those from 4000 are an application's own.
NOBODY: Final = 4401
NOT_ALLOWED: Final = 4403
TOO_MANY: Final = 1013


class _Look(NamedTuple):
    """What the database said to a question that was put at ``began_s``. ``among`` are the targets it was about (None:
    all); ``ids`` are the transitions above what was told for good, ``transitions`` those nobody was told yet."""

    began_s: float
    standings: list[Standing]
    among: Collection[int] | None
    revision: int
    ids: list[int]
    transitions: list[dict[str, Any]]
    machine_states: Mapping[StateKey, Current]
    """Of the machines that these are about."""


class _Marks(NamedTuple):
    """What is other as soon as a machine is, by which a look knows what has changed since the one before."""

    there: NDArray[np.int64]
    heard: NDArray[np.int64]

    def registered_since(self, before: _Marks) -> set[int]:
        """The machines that were changed by somebody, are new, or are there no more."""
        return _changed(self.there, before.there)

    def heard_since(self, before: _Marks) -> set[int]:
        """The machines that sent something."""
        return _changed(self.heard, before.heard)


class _MachineLook(NamedTuple):
    began_s: float
    marks: _Marks
    look: MachineLook | None
    """None: nothing has changed."""


class LiveView:
    """Make it with ``LiveView.open``."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._watchers = Watchers(MOST_WATCHERS)
        self._wanted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._period = 0
        """Grows whenever somebody begins to watch after nobody did: what was asked before then is of no use."""
        self._picture = Picture(())
        self._told = Told(0)
        self._revision = 0
        self._encoded: msgspec.Raw | None = None
        """The targets as a new watcher is sent them; None: they have changed since."""
        # What the database has to be asked: when it was, in the loop's seconds, and what has come up since.
        self._asked_s = self._read_s = 0.0
        self._pace_s = AT_MOST_EVERY_S
        self._missing = self._stirred = self._news = False
        self._machines = MachinePicture()
        self._briefs: dict[int, msgspec.Raw] = {}
        """Every machine as watchers are told of it."""
        self._meanwhile: dict[StateKey, Current] = {}
        """What was handed round of machines since the database was asked for them."""
        self._marks = _Marks(_NOTHING, _NOTHING)
        self._machines_read_s = 0.0
        self._machine_looks_s: deque[float] = deque(maxlen=LOOKS)
        """How long the last ones took."""
        self._stalled: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, context: ApiContext) -> AsyncIterator[LiveView]:
        live = cls(context)
        tasks = TaskSet(lambda error: log.error("the live view broke", exc_info=error))
        tasks.start(live._follow())
        tasks.start(live._follow_machines())
        try:
            yield live
        finally:
            await tasks.close()

    @property
    def is_stalled(self) -> bool:
        """While the database cannot be asked."""
        return bool(self._stalled)

    def slug_of(self, target_id: int) -> str | None:
        """What a target is called in addresses; None for one that is not there."""
        standing = self._picture.standings.get(target_id)
        return None if standing is None else standing.slug

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Watcher | None]:
        """A watcher whose first message is the whole; None when there are too many."""
        async with self._lock:  # no change falls between the whole and the first change
            if self._watchers.is_full:
                watcher = None
            else:
                if not self._watchers:
                    await self._begin()
                watcher = self._watchers.add(await self._whole())
        if watcher is None:
            yield None
            return
        self._wanted.set()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._wanted.clear()

    async def _begin(self) -> None:
        """Nobody was watching until now: everything is read anew, and none of it is news."""
        self._period += 1
        self._told, look = await run_in_threadpool(_first, self._context, _now_s())
        found = await run_in_threadpool(_read_machines, self._context, _now_s(), None)
        self._picture, self._machines = Picture(()), MachinePicture()
        self._encoded = None
        self._take_over(look, _now_s())
        self._take_over_machines(found, _now_s())
        self._briefs = await run_in_threadpool(_machine_briefs, list(self._machines.standings.values()))

    async def _follow(self) -> None:
        async with self._context.bus.listen(_TOPICS) as bell:
            while True:
                await self._wanted.wait()
                async with self._context.bus.follow() as feed:
                    while self._watchers:
                        rung = await bell.wait(self._patience_s())
                        with self._noted("targets"):
                            await self.tell(rung, feed)
                        await asyncio.sleep(AT_MOST_EVERY_S)

    async def _follow_machines(self) -> None:
        async with self._context.bus.listen(("machines",)) as bell:
            while True:
                await self._wanted.wait()
                while self._watchers:
                    await bell.wait(AT_LEAST_EVERY_S)
                    with self._noted("machines"):
                        await self.tell_machines()
                    await asyncio.sleep(self._machine_pace_s())

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """A database that cannot be asked is said once, and looked at again."""
        try:
            yield
        except StoreError as error:
            if not self._stalled:
                log.warning("the live view waits for the database", reason=str(error))
            self._stalled.add(what)
        else:
            self._stalled.discard(what)

    async def tell(self, rung: Collection[Topic], feed: Feed) -> None:
        """Gives every watcher what changed since the last time. Raises StoreError when the database could not be asked;
        what was handed round is told all the same."""
        if not self._watchers:
            return
        period = self._period
        handed = feed.take()
        self._missing |= not handed.complete
        self._stirred |= "checks" in rung
        self._news |= not {"transitions", "targets"}.isdisjoint(rung)
        look: _Look | None = None
        failed: StoreError | None = None
        try:
            look = await self._ask()
        except StoreError as error:
            failed = error
        async with self._lock:
            if period != self._period:
                return
            moved, machines_moved = self._merge(handed.states)
            transitions: list[dict[str, Any]] = []
            if look is not None:
                moved = moved.then(self._take_over(look, _now_s()))
                machines_moved = machines_moved.then(self._merge_machines(look.machine_states))
                transitions = look.transitions
            await self._give(moved, machines_moved, transitions)
        if failed is not None:
            raise failed

    async def tell_machines(self) -> None:
        """Gives every watcher the machines that are other than the last time. Raises StoreError when the database could
        not be asked."""
        if not self._watchers:
            return
        period, now_s = self._period, _now_s()
        before = None if now_s - self._machines_read_s >= WHOLE_EVERY_S else self._marks
        self._meanwhile = {}
        found = await run_in_threadpool(_read_machines, self._context, now_s, before)
        async with self._lock:
            if period == self._period:
                moved = self._take_over_machines(found, _now_s())
                await self._give(NOT_MOVED, moved.then(self._machines.merge(self._meanwhile)), [])

    # ── when the database is asked ────────────────────────────────────────────────────────────────

    async def _ask(self) -> _Look | None:
        """For everything, for what changed, or for nothing, as is needed now. Its answer is newer than all that was
        handed round before it was asked."""
        now_s = _now_s()
        passed_s = now_s - self._read_s
        most_s = AT_LEAST_EVERY_S if self._missing else WHOLE_EVERY_S
        if passed_s >= (self._pace_s if self._missing and self._stirred else most_s):
            return await run_in_threadpool(_read, self._context, now_s, self._told, None)
        if self._news or now_s - self._asked_s >= AT_LEAST_EVERY_S:
            return await run_in_threadpool(_read, self._context, now_s, self._told, self._revision)
        return None

    def _patience_s(self) -> float:
        """How long it need not be asked, although nobody rings."""
        if self._missing and self._stirred:
            return max(0.0, self._read_s + self._pace_s - _now_s())
        return AT_LEAST_EVERY_S

    def _take_over(self, look: _Look, now_s: float) -> Moved:
        self._asked_s = now_s
        self._news = False
        if look.among is None:
            self._read_s = now_s
            self._pace_s = min(max((now_s - look.began_s) / SHARE, AT_MOST_EVERY_S), AT_LEAST_EVERY_S)
            self._missing = self._stirred = False
        self._revision = look.revision
        self._told.remember(look.ids, look.began_s)
        moved = self._picture.replace(look.standings, look.among)
        if moved.changed or moved.removed:
            self._encoded = None
        return moved

    def _merge(self, states: Mapping[StateKey, Current]) -> tuple[Moved, Moved]:
        """Targets and machines."""
        moved = self._picture.merge(states)
        if moved.changed:
            self._encoded = None
        return moved, self._merge_machines(states)

    def _merge_machines(self, states: Mapping[StateKey, Current]) -> Moved:
        """What comes while the database is asked is newer than its answer."""
        self._meanwhile.update((key, state) for key, state in states.items() if key.subject.kind == MACHINE)
        return self._machines.merge(states)

    def _take_over_machines(self, found: _MachineLook, now_s: float) -> Moved:
        self._marks = found.marks
        if found.look is None:
            return NOT_MOVED
        self._machine_looks_s.append(now_s - found.began_s)
        if found.look.among is None:
            self._machines_read_s = now_s
        return self._machines.replace(found.look)

    def _machine_pace_s(self) -> float:
        """By the middle one of the last looks that found something: a single one that had to wait says nothing of what
        they take."""
        pace_s = median(self._machine_looks_s or [0.0]) / MACHINES_SHARE
        return min(max(pace_s, MACHINES_AT_MOST_EVERY_S), AT_MOST_EVERY_S)

    # ── what watchers are given ───────────────────────────────────────────────────────────────────

    async def _give(self, targets: Moved, machines: Moved, transitions: list[dict[str, Any]]) -> None:
        """To every watcher what changed, encoded once for all of them."""
        message = None
        if any((*targets, *machines, transitions)):
            standings = [self._picture.standings[number] for number in sorted(targets.changed)]
            of_machines = [self._machines.standings[number] for number in sorted(machines.changed)]
            told, briefs = await run_in_threadpool(_changes, standings, of_machines)
            self._briefs.update(briefs)
            for number in machines.removed:
                self._briefs.pop(number, None)
            message = _encode(
                {
                    "type": "changes",
                    "at": moment(self._context.clock.now_ms()),
                    "targets": told,
                    "removed": sorted(targets.removed),
                    "machines": list(briefs.values()),
                    "machines_removed": sorted(machines.removed),
                    "transitions": transitions,
                }
            )
        await self._watchers.give(message, self._whole)

    async def _whole(self) -> bytes:
        if self._encoded is None:
            self._encoded = await run_in_threadpool(_briefs, list(self._picture.standings.values()))
        at = moment(self._context.clock.now_ms())
        machines = list(self._briefs.values())
        return _encode({"type": "initial", "at": at, "targets": self._encoded, "machines": machines})


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _first(context: ApiContext, began_s: float) -> tuple[Told, _Look]:
    """How everything stands, none of which is news."""
    with context.store.read() as conn:
        told = Told(store_transitions.newest_id(conn))
        return told, _Look(
            began_s=began_s,
            standings=store_targets.standings(conn),
            among=None,
            revision=store_targets.latest_revision(conn),
            ids=store_transitions.ids_after(conn, told.floor),
            transitions=[],
            machine_states={},
        )


def _read(context: ApiContext, began_s: float, told: Told, since: int | None) -> _Look:
    """What nobody was told yet, and how the targets stand that it is about or that changed after the revision ``since``
    (None: how everything stands)."""
    with context.store.read() as conn:
        ids = store_transitions.ids_after(conn, told.floor)
        fresh = told.new(ids)
        if len(fresh) > MOST_NAMED:
            since, fresh = None, fresh[-MOST_TRANSITIONS:]
        stored = store_transitions.get_many(conn, fresh)
        among = None
        if since is not None:
            among = {one.transition.key.subject.id for one in stored.values() if _is_about(one, TARGET)}
            among.update(store_targets.touched_since(conn, since))
            among = None if len(among) > MOST_NAMED else among
        newest = [stored[number] for number in fresh[-MOST_TRANSITIONS:]]
        about = {one.transition.key.subject.id for one in stored.values() if _is_about(one, MACHINE)}
        return _Look(
            began_s=began_s,
            standings=store_targets.standings(conn, among),
            among=among,
            revision=store_targets.latest_revision(conn),
            ids=ids,
            transitions=history.timeline(conn, newest, now_ms=context.clock.now_ms()) if newest else [],
            machine_states=_machine_states(conn, about),
        )


def _is_about(one: StoredTransition, kind: str) -> bool:
    return one.transition.key.subject.kind == kind


def _machine_states(conn: Connection, machine_ids: Collection[int]) -> dict[StateKey, Current]:
    if not machine_ids:
        return {}
    return {key: Current.of(state) for key, state in store_states.of_kind(conn, MACHINE, machine_ids)}


def _read_machines(context: ApiContext, began_s: float, before: _Marks | None) -> _MachineLook:
    """How the machines stand that are other than ``before`` (None: all)."""
    with context.store.read() as conn:
        marks = _Marks(*store_machines.marks(conn))
        if before is None:
            return _MachineLook(began_s, marks, _look_at_machines(conn, None, ()))
        registered, heard = marks.registered_since(before), marks.heard_since(before)
        if not registered and not heard:
            return _MachineLook(began_s, marks, None)
        if len(registered) + len(heard) > MOST_NAMED:
            return _MachineLook(began_s, marks, _look_at_machines(conn, None, ()))
        return _MachineLook(began_s, marks, _look_at_machines(conn, registered, heard))


def _look_at_machines(conn: Connection, registered: Collection[int] | None, heard: Collection[int]) -> MachineLook:
    among = None if registered is None else {*registered, *heard}
    rows = store_machines.every(conn) if registered is None else []
    if registered:
        rows = store_machines.get_many(conn, registered)
    return MachineLook(
        among=among,
        registered=registered,
        rows=rows,
        tag_bands=store_machines.tag_bands(conn) if rows else {},
        states=machines.states_of(conn, among),
        newest=store_machines.newest(conn, among),
    )


def _changed(now: NDArray[np.int64], before: NDArray[np.int64]) -> set[int]:
    """The first number of each row that is not in both. Quick where mostly the same rows are in both, in one order."""
    if now.shape == before.shape:
        other = (now != before).any(axis=1)
        now, before = now[other], before[other]
    return {row[0] for row in set(map(tuple, now.tolist())) ^ set(map(tuple, before.tolist()))}


def _changes(
    of_targets: Iterable[Standing], of_machines: Iterable[machines.Standing]
) -> tuple[msgspec.Raw, dict[int, msgspec.Raw]]:
    return _briefs(of_targets), _machine_briefs(of_machines)


def _machine_briefs(standings: Iterable[machines.Standing]) -> dict[int, msgspec.Raw]:
    return {standing.id: msgspec.Raw(_encode(machines.brief(standing, moment))) for standing in standings}


def _briefs(standings: Iterable[Standing]) -> msgspec.Raw:
    return msgspec.Raw(_encode([_brief(standing) for standing in standings]))


def _brief(standing: Standing) -> dict[str, Any]:
    checked = standing.last_at_ms > 0
    return {
        "id": standing.id,
        "verdict": standing.verdict,
        "since": moment(standing.since_ms or standing.created_ms),
        "reason": standing.reason if checked else targets.reason_unchecked(standing.enabled),
        "last_check_at": moment(standing.last_at_ms) if checked else None,
        "last_latency_ms": milliseconds(standing.last_latency_us),
        "enabled": standing.enabled,
    }


# ── one connection ────────────────────────────────────────────────────────────────────────────────────


async def serve(websocket: WebSocket) -> None:
    """``/ws``: the whole first, then changes; ``{"type": "ping"}`` is answered ``{"type": "pong"}``.

    Closed with 4401 for nobody, 4403 for another page's script or a key that may not read; also later, when the
    session ends or the key is revoked.
    """
    await websocket.accept()
    refusal = await _refusal(websocket)
    if refusal is not None:
        await websocket.close(*refusal)
        return
    live: LiveView = websocket.app.state.live
    try:
        async with live.watching() as watcher:
            if watcher is None:
                await websocket.close(TOO_MANY, "too many are watching")
                return
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_send(websocket, watcher))
                tasks.create_task(_answer(websocket))
                tasks.create_task(_look_again(websocket))
    except* _Refused as refused:
        await websocket.close(*refused.exceptions[0].args)
    except* StoreError:
        await websocket.close(TOO_MANY, "the database is busy or away")
    except* WebSocketDisconnect:
        pass  # it went away


class _Refused(Exception):
    """With a close code and a reason."""


async def _look_again(websocket: WebSocket) -> None:
    """Nobody goes on listening with what no longer lets in."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        refusal = await _refusal(websocket)
        if refusal is not None and refusal[0] != TOO_MANY:
            raise _Refused(*refusal)


async def _refusal(websocket: WebSocket) -> tuple[int, str] | None:
    try:
        identity = await run_in_threadpool(identify, websocket)
    except StoreError:
        return TOO_MANY, "the database is busy or away"
    if identity is None:
        return NOBODY, "sign in first"
    if key_of(websocket) is None and same_origin(websocket) is False:
        return NOT_ALLOWED, "another site's page may not listen"
    if not identity.may("read"):
        return NOT_ALLOWED, "this key may not read"
    return None


async def _send(websocket: WebSocket, watcher: Watcher) -> None:
    while True:
        await websocket.send_text((await watcher.messages.get()).decode())


async def _answer(websocket: WebSocket) -> None:
    while True:
        frame = await websocket.receive()
        if frame["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(frame["code"])
        try:
            message = msgspec.json.decode(frame.get("text") or frame.get("bytes") or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # nothing that is said here
        if isinstance(message, dict) and message.get("type") == "ping":
            await websocket.send_text('{"type":"pong"}')
