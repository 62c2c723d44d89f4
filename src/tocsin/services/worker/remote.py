"""The centre as a worker far from it meets it: over gRPC, with what cannot be handed on kept on disk.

Results go into a spool first and from there to the aggregator. What is known of the lease and the targets is kept
beside them, targets encrypted, so that a worker that is restarted while it is cut off goes on with what it knew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from google.protobuf import json_format
from msgspec.structs import replace

from tocsin import wire
from tocsin.core.shards import shard_of
from tocsin.core.target import Target
from tocsin.home import IdentityInUse, Introduction, Lease, TargetChanges
from tocsin.lib import metrics
from tocsin.lib.clock import SYSTEM_CLOCK, Clock
from tocsin.lib.log import get_logger
from tocsin.lib.spool import Spool, SpoolError, SpoolInUse
from tocsin.lib.vault import Vault, VaultError
from tocsin.pipeline import Entry, Settled
from tocsin.services.worker.forwarder import MOST_BYTES, Forwarder, Thinner
from tocsin.services.worker.link import Link, Unreachable
from tocsin.store.engine import StoreError, StoreUnavailable
from tocsin.v1 import probing_pb2 as pb

ANSWER_S: Final = 2.0
"""How long a write waits to hear how states stand now: what failed is looked at again soon. Cut off, it does not."""
LAST_S: Final = 0.3
"""Before something is given back, what is on disk gets this long to be sent."""
CLOCK_NOTED_MS: Final = 500
"""How far off this machine's clock is, is kept on disk anew when it has changed by so much."""
IN_MEMORY_BYTES: Final = 64 << 20
"""What is kept where no file can be made at all."""

log = get_logger("worker")


class RemoteHome:
    """A ``Home``. Make it with ``open``."""

    def __init__(self, *, link: Link, spool: Spool, vault: Vault, clock: Clock = SYSTEM_CLOCK) -> None:
        self._link = link
        self._spool = spool
        self._clock = clock
        self._known = _Known(spool, vault)
        self._forwarder = Forwarder(spool, link.write)
        self._me: Introduction | None = None
        """As it is known to the centre; None before the first lease."""

    @classmethod
    @contextmanager
    def open(
        cls,
        *,
        url: str,
        key: str,
        authority_file: Path | None,
        spool_file: Path,
        spool_bytes: int,
        vault: Vault,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Iterator[RemoteHome]:
        """``url`` is ``grpc://host[:port]`` or ``grpcs://…``; ``clock`` is this machine's own. Contacts nobody yet.

        Raises SpoolInUse, and OSError for an ``authority_file`` that cannot be read.
        """
        authority = None if authority_file is None else authority_file.read_bytes()
        spool = _open_spool(spool_file, spool_bytes)
        try:
            link = Link(url, key=key, authority=authority)
            home = cls(link=link, spool=spool, vault=vault, clock=clock)
            log.info("this worker reports to an aggregator", address=link.address, waiting=len(spool))
            if _travels_in_clear(url):
                log.warning(
                    "the key and targets' secrets travel in clear; grpcs:// encrypts them", address=link.address
                )
            home._forwarder.start()
            try:
                yield home
            finally:
                link.close()
                home._forwarder.close(within_s=1.0)
        finally:
            spool.close()

    # ── the lease ─────────────────────────────────────────────────────────────────────────────────

    def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
        """Cut off at the start, the lease that was known last: others take over what they must, and are told apart by
        their epochs."""
        known = self._known.lease(me)
        if known is not None and not known.given_back:
            # What waits in the spool was made in that life, under its epochs; they stay good as long as it goes on.
            me, first = me._replace(life=known.life), False
        if give_back:
            self._forwarder.is_drained(LAST_S)  # from then on what was seen of those shards has no say
        request = pb.RenewRequest(worker=wire.worker_message(me), give_back=give_back, first=first, steady=steady)
        asked_s = self._clock.monotonic()
        try:
            lease = wire.lease_of(self._link.renew(request))
        except IdentityInUse:
            self._known.forget()
            raise
        except StoreError:
            if known is None or self._me is not None:
                raise
            self._me = me
            now_ms = self._clock.now_ms() - known.ahead_ms
            return Lease(known.location_id, known.epochs, frozenset(), now_ms, known.for_s)
        self._me = me
        passed_ms = (self._clock.monotonic() - asked_s) * 500
        self._known.keep(me, lease, ahead_ms=self._clock.now_ms() - lease.now_ms - round(passed_ms))
        self._forwarder.in_touch()
        # Nobody is to take over a shard while what was seen of it waits here.
        return lease._replace(leaving=frozenset()) if len(self._spool) else lease

    def leave(self, me: Introduction, give_back: Mapping[int, int]) -> None:
        """Keeps the lease while results wait: they count only as long as nobody else has taken it."""
        if not self._forwarder.is_drained(LAST_S):
            log.info("results wait on disk for the next start", results=len(self._spool))
            return
        known = self._known.lease(me)
        if known is not None and not known.given_back:
            me = me._replace(life=known.life)
        self._link.leave(pb.LeaveRequest(worker=wire.worker_message(me), give_back=give_back))
        self._known.gave_back()

    # ── targets ───────────────────────────────────────────────────────────────────────────────────

    def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
        """Cut off after a start, those that were known last."""
        request = pb.LoadRequest(worker=self._worker(), shards=sorted(shards), since_revision=since_revision)
        try:
            changes = wire.changes_of(self._link.load(request))
            if changes is None:
                raise Unreachable("the list of targets broke off")
        except StoreError:
            known = self._known.targets(shards) if since_revision < 0 else None
            if known is None:
                raise
            return known
        self._known.learn(shards, since_revision, changes)
        return changes

    # ── results ───────────────────────────────────────────────────────────────────────────────────

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        """They are on disk when it returns, or, when the disk does not take them, with the aggregator."""
        waits = self._link.is_up and not len(self._spool)
        worker = self._worker()
        try:
            last = 0
            for request in _parts(worker, entries):
                last = self._spool.append(request.SerializeToString(), len(request.entries))
        except SpoolError as error:
            return self._past_the_disk(worker, entries, error)
        metrics.SPOOLED.set(len(self._spool))
        metrics.SPOOL_BYTES.set(self._spool.size_bytes)
        self._forwarder.news()
        if waits:
            self._forwarder.wait_until_sent(last, ANSWER_S)
        return self._settled(self._forwarder.take_settled())

    def _past_the_disk(self, worker: pb.Worker, entries: Sequence[Entry], error: SpoolError) -> list[Settled]:
        if len(self._spool):  # what is there goes first
            self._forwarder.news()
            raise StoreUnavailable(f"{error}; what waits on it is sent first") from error
        settled: list[pb.Settled] = []
        try:
            for request in _parts(worker, entries):
                settled += self._forwarder.deliver(request)
        except StoreError as away:
            raise StoreUnavailable(f"{error}, and {away}") from away
        return self._settled(settled)

    def _settled(self, messages: Sequence[pb.Settled]) -> list[Settled]:
        known = self._known.location_id
        found = (wire.settled_of(message, location_id=known) for message in messages)
        return [settled for settled in found if settled is not None]

    def _worker(self) -> pb.Worker:
        """As it stands beside targets and results: what changes from time to time is only told with the lease."""
        if self._me is None:
            raise StoreUnavailable("there is no lease yet")
        return wire.worker_message(self._me._replace(clock_off_ms=0))


def _open_spool(path: Path, bound_bytes: int) -> Spool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Spool(path, bound_bytes=bound_bytes, thinner=Thinner())
    except SpoolInUse:
        raise
    except (SpoolError, OSError) as error:
        log.error("nothing can be kept on disk; results wait in memory, and a restart loses them", reason=str(error))
        return Spool(None, bound_bytes=min(bound_bytes, IN_MEMORY_BYTES), thinner=Thinner())


def _travels_in_clear(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme == "grpc" and not ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "grpc" and parts.hostname != "localhost"


def _parts(worker: pb.Worker, entries: Sequence[Entry]) -> Iterator[pb.WriteRequest]:
    request, size = pb.WriteRequest(worker=worker), 0
    for entry in entries:
        message = wire.entry_message(entry)
        if len(message.evidence) > wire.LARGEST_EVIDENCE_BYTES:
            log.warning("what a check saw is too large to be kept", target_id=message.target_id)
            message.ClearField("evidence")
        size += message.ByteSize()
        if size > MOST_BYTES and request.entries:
            yield request
            request, size = pb.WriteRequest(worker=worker), message.ByteSize()
        request.entries.append(message)
    if request.entries:
        yield request


# ── what is known, on disk ────────────────────────────────────────────────────────────────────────────


class _KnownLease(msgspec.Struct, frozen=True):
    """``file`` tells the spool from a copy of it: a copied data directory is another worker."""

    file: str
    id: str
    life: str
    location: str
    location_id: int
    epochs: dict[int, int]
    for_s: float
    ahead_ms: int
    """How far this machine's clock was ahead of the installation's."""
    given_back: bool = False
    """At a stop. To be gone by when a start finds nobody; what is seen then is history and moves no verdict."""


_LEASE: Final = "lease"
_REVISIONS: Final = "revisions"
_TARGET: Final = "target/"


class _Known:
    """Notes beside the spool. What cannot be kept or read is as good as not known, and logged."""

    def __init__(self, spool: Spool, vault: Vault) -> None:
        self._spool = spool
        self._vault = vault
        self._lease: _KnownLease | None = None
        self._revisions: dict[int, int] = {}
        """Of every shard whose targets are all kept: up to which change."""
        self._kept: set[int] = set()
        """The targets that are kept."""
        self._read()

    @property
    def location_id(self) -> int:
        return 0 if self._lease is None else self._lease.location_id

    def lease(self, me: Introduction) -> _KnownLease | None:
        """None when it was another's, or none is known."""
        known = self._lease
        if known is None or (known.id, known.location) != (me.id, me.location):
            return None
        return known

    def keep(self, me: Introduction, lease: Lease, *, ahead_ms: int) -> None:
        before, known = (
            self._lease,
            _KnownLease(
                file=self._spool.identity,
                id=me.id,
                life=me.life,
                location=me.location,
                location_id=lease.location_id,
                epochs=dict(lease.epochs),
                for_s=lease.for_s,
                ahead_ms=ahead_ms,
            ),
        )
        self._lease = known
        notes: dict[str, bytes | None] = {}
        if before is None or (before.file, before.location) != (known.file, known.location):
            notes, self._revisions = self._without(self._kept), {}
        elif lost := self._revisions.keys() - known.epochs.keys():
            notes = self._without_shards(lost)
            self._revisions = {shard: at for shard, at in self._revisions.items() if shard not in lost}
        if (
            before is None
            or replace(before, ahead_ms=known.ahead_ms) != known
            or abs(before.ahead_ms - known.ahead_ms) > CLOCK_NOTED_MS
        ):
            self._note(notes | {_LEASE: msgspec.json.encode(known), _REVISIONS: msgspec.json.encode(self._revisions)})

    def learn(self, shards: Collection[int], since_revision: int, changes: TargetChanges) -> None:
        notes = self._without(changes.removed)
        if since_revision < 0:
            notes |= self._without_shards(shards)
            self._revisions |= dict.fromkeys(shards, changes.revision)
        else:
            # Where something is missing, what changed is not all there is to know.
            known = self._revisions.keys() & set(shards)
            if not notes and not changes.targets and all(self._revisions[one] == changes.revision for one in known):
                return
            self._revisions |= dict.fromkeys(known, changes.revision)
        for target in changes.targets:
            plain = json_format.MessageToDict(wire.target_message(target), preserving_proto_field_name=True)
            notes[_target(target.id)] = self._vault.seal(plain)
            self._kept.add(target.id)
        self._note(notes | {_REVISIONS: msgspec.json.encode(self._revisions)})

    def targets(self, shards: Collection[int]) -> TargetChanges | None:
        """None unless those of every one of the shards are known."""
        wanted = set(shards)
        if not wanted or not wanted <= self._revisions.keys():
            return None
        found: list[Target] = []
        try:
            for name, sealed in self._spool.noted(_TARGET).items():
                if shard_of(int(name.removeprefix(_TARGET))) in wanted:
                    message = json_format.ParseDict(self._vault.open(sealed), pb.Target(), ignore_unknown_fields=True)
                    found.append(wire.target_of(message))
        except (SpoolError, VaultError, ValueError, json_format.ParseError, wire.Unfit) as error:
            log.warning("targets kept on disk cannot be read", reason=str(error))
            return None
        log.warning("cut off; probing the targets that were known last", targets=len(found))
        return TargetChanges(found, (), min(self._revisions[shard] for shard in wanted))

    def gave_back(self) -> None:
        if self._lease is not None:
            self._lease = replace(self._lease, given_back=True)
            self._note({_LEASE: msgspec.json.encode(self._lease)})

    def forget(self) -> None:
        self._lease, self._revisions = None, {}
        self._note(self._without(self._kept) | {_LEASE: None, _REVISIONS: None})

    def _read(self) -> None:
        try:
            notes = self._spool.noted()
            self._kept = {int(name.removeprefix(_TARGET)) for name in notes if name.startswith(_TARGET)}
            if _LEASE not in notes:
                return
            lease = msgspec.json.decode(notes[_LEASE], type=_KnownLease)
            revisions = msgspec.json.decode(notes.get(_REVISIONS, b"{}"), type=dict[int, int])
        except (SpoolError, ValueError) as error:
            log.warning("what was known last cannot be read from disk", reason=str(error))
            return
        if lease.file == self._spool.identity:
            self._lease, self._revisions = lease, revisions

    def _without_shards(self, shards: Collection[int]) -> dict[str, bytes | None]:
        gone = set(shards)
        return self._without([target_id for target_id in self._kept if shard_of(target_id) in gone])

    def _without(self, target_ids: Collection[int]) -> dict[str, bytes | None]:
        """For ``note``: that these are not kept any more."""
        gone = self._kept.intersection(target_ids)
        self._kept -= gone
        return {_target(target_id): None for target_id in gone}

    def _note(self, notes: Mapping[str, bytes | None]) -> None:
        try:
            self._spool.note(notes)
        except SpoolError as error:
            log.warning(
                "what is known cannot be kept on disk; a restart while cut off would lose it", reason=str(error)
            )


def _target(target_id: int) -> str:
    return f"{_TARGET}{target_id}"
