"""A worker's home far from the centre, over a stretch of network that is cut, held and restored."""

from __future__ import annotations

import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from tests.clocks import FakeClock
from tests.postgres import PrivateServer
from tests.relay import Relay
from tests.services.far import ME, Centre, far_home, seen, slots
from tocsin.catalog import silence, targets
from tocsin.core.decide import Verdict
from tocsin.core.outcome import CERTIFICATE, Outcome, Result, StateKey, Subject
from tocsin.core.target import CERTIFICATE_POLICY, TARGET
from tocsin.home import IdentityInUse, Lease
from tocsin.lib import metrics
from tocsin.lib.spool import SpoolInUse
from tocsin.pipeline import Entry, Settled
from tocsin.services.sweep import Sweep
from tocsin.services.worker.remote import RemoteHome
from tocsin.store.certificates import Chain
from tocsin.store.engine import StoreError, StoreUnavailable

FAILED, PASSED = Result.FAILED, Result.PASSED


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    made = Centre(f"sqlite:///{tmp_path / 'tocsin.db'}")
    yield made
    made.close()


@pytest.fixture
def serving(centre: Centre) -> Iterator[None]:
    with centre.serving():
        yield


@pytest.fixture
def relay(centre: Centre, serving: None) -> Iterator[Relay]:
    made = Relay(centre.port)
    yield made
    made.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a worker keeps what it has."""
    found = tmp_path / "far"
    found.mkdir()
    return found


@pytest.fixture
def home(centre: Centre, relay: Relay, place: Path) -> Iterator[RemoteHome]:
    with far_home(place, port=relay.port, key=centre.key) as opened:
        yield opened


def renewed(home: RemoteHome, *, first: bool = False) -> Lease:
    return home.renew(ME, {}, first=first, steady=False)


def until(look: Callable[[], object], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def until_drained(home: RemoteHome, within_s: float = 30.0) -> None:
    """As the worker does, the lease is renewed meanwhile."""

    def look() -> bool:
        try:
            renewed(home)
        except StoreError:
            return False
        return not len(home._spool)

    until(look, within_s)


def told(home: RemoteHome, entries: Sequence[Entry]) -> list[Settled]:
    """Written in batches, as the recorder does."""
    settled: list[Settled] = []
    for start in range(0, len(entries), 10):
        settled += home.write(entries[start : start + 10])
    return settled


# ── in touch ──────────────────────────────────────────────────────────────────────────────────────────


def test_in_touch_it_is_as_if_the_centre_were_here(centre: Centre, home: RemoteHome) -> None:
    target_id = centre.add(password="pa55", username="u")
    lease = renewed(home, first=True)
    assert len(lease.epochs) == 64
    changes = home.load(range(64), -1)
    assert [(target.id, target.settings["password"]) for target in changes.targets] == [(target_id, "pa55")]
    now_ms = lease.now_ms
    (settled,) = home.write([seen(target_id, now_ms, FAILED, reason="no answer")])
    assert settled.key == StateKey(Subject(TARGET, target_id), "reachable", lease.location_id)
    assert (settled.state.failures, settled.state.last_at_ms) == (1, now_ms)
    home.write([seen(target_id, now_ms + 1, FAILED, reason="no answer")])
    assert centre.state(target_id).verdict is Verdict.DOWN
    assert centre.verdicts(target_id) == ["down"]
    with centre.store.write() as conn:
        targets.delete(conn, target_id, pipeline=centre.pipeline, now_ms=now_ms)
    assert home.load(range(64), changes.revision).removed == [target_id]
    home.leave(ME, {})
    other = centre.home(ME._replace(id="worker-2")).renew(
        ME._replace(id="worker-2", life="life-2"), {}, first=True, steady=False
    )
    assert len(other.epochs) == 64


def test_a_certificate_that_was_seen_is_kept_with_its_verdict(centre: Centre, home: RemoteHome) -> None:
    target_id = centre.add()
    lease = renewed(home, first=True)
    key = StateKey(Subject(TARGET, target_id), CERTIFICATE, 1)
    document = {
        "subject": "CN=a",
        "issuer": "CN=b",
        "names": ["a", "b"],
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2026-12-31T00:00:00Z",
        "serial": "1",
        "fingerprint": "ff",
    }
    chain = Chain(target_id, 1, lease.now_ms, lease.now_ms + 1, [document])
    outcome = Outcome(key, lease.now_ms, Result.WARNED, None, "expires soon", None)
    (settled,) = home.write([Entry(outcome, CERTIFICATE_POLICY, chain=chain, epoch=1)])
    assert (settled.key, settled.state.verdict) == (key, Verdict.DEGRADED)
    with centre.store.read() as conn:
        from tocsin.store import certificates

        assert certificates.of_target(conn, target_id) == [chain]


def test_large_evidence_goes_in_several_calls_and_what_is_beyond_measure_stays_behind(
    centre: Centre, home: RemoteHome
) -> None:
    target_id = centre.add()
    now_ms = renewed(home, first=True).now_ms
    entries = [
        seen(target_id, at_ms, FAILED)._replace(evidence={"body": "x" * 400_000}) for at_ms in slots(now_ms, 30, 1)
    ]
    entries.append(seen(target_id, now_ms + 100, FAILED)._replace(evidence={"body": "x" * 3_000_000}))
    home.write(entries)
    until_drained(home)
    assert len(centre.rows(target_id)) == 31
    with centre.store.read() as conn:
        from tocsin.store import evidence

        assert len(evidence.kept(conn, target_id, from_ms=0, to_ms=2**60)) == 30


# ── cut off ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["cut", "hold"])
def test_what_is_seen_while_cut_off_is_stored_once_and_in_order_afterwards(
    centre: Centre, relay: Relay, home: RemoteHome, how: str
) -> None:
    target_id, steady_id = centre.add(), centre.add()
    now_ms = renewed(home, first=True).now_ms - 3_600_000
    told(home, [seen(one, at_ms) for at_ms in slots(now_ms, 10) for one in (target_id, steady_id)])
    getattr(relay, how)()
    # Two outages that the centre hears nothing of, while another target is well.
    results = [PASSED] * 30 + [FAILED] * 40 + [PASSED] * 30 + [FAILED] * 5 + [PASSED] * 35
    at = slots(now_ms + 10_000, len(results))
    gap = [
        entry
        for at_ms, result in zip(at, results, strict=True)
        for entry in (seen(target_id, at_ms, result, reason="gone" if result is FAILED else ""), seen(steady_id, at_ms))
    ]
    told(home, gap)
    assert len(centre.rows(target_id)) <= 20
    relay.restore()
    until_drained(home)
    told(home, [seen(one, at_ms) for at_ms in slots(at[-1] + 1000, 10) for one in (target_id, steady_id)])
    for one in (target_id, steady_id):
        assert [row.at_ms for row in centre.rows(one)] == list(slots(now_ms, 10 + len(results) + 10))
    assert centre.verdicts(target_id) == ["up", "down", "up", "down", "up"]
    assert centre.verdicts(target_id, 1) == ["up", "down", "up", "down", "up"]
    assert centre.verdicts(steady_id) == ["up"]
    with centre.store.read() as conn:
        from tocsin.store import evidence, transitions

        assert len(evidence.kept(conn, target_id, from_ms=0, to_ms=2**60)) == 45
        found = transitions.of_subject(conn, Subject(TARGET, target_id), from_ms=0, to_ms=2**60)
    dated = [one.transition.at_ms for one in reversed(found)]
    assert dated == [now_ms, now_ms + 40_000, now_ms + 80_000, now_ms + 110_000, now_ms + 115_000]


def test_an_answer_that_is_lost_stores_nothing_twice(centre: Centre, relay: Relay, home: RemoteHome) -> None:
    target_id = centre.add()
    now_ms = renewed(home, first=True).now_ms
    for number in range(20):
        if number % 5 == 2:
            relay.cut()
        home.write([seen(target_id, now_ms + number, [PASSED, FAILED][number % 2])])
        relay.restore()
    until_drained(home)
    assert [row.at_ms for row in centre.rows(target_id)] == list(slots(now_ms, 20, 1))


def test_the_other_locations_decide_while_one_is_silent_and_nothing_is_down_for_it(tmp_path: Path, place: Path) -> None:
    clock = FakeClock()
    centre = Centre(f"sqlite:///{tmp_path / 'tocsin.db'}", clock=clock)
    sweep = Sweep(store=centre.store, pipeline=centre.pipeline, clock=clock, policies=silence.policies)
    target_id = centre.add(locations=["oslo", "nyc"], quorum="any")
    here = ME._replace(id="worker-2", life="life-2", location="nyc", remote=False)

    def pass_by(seconds: int, *homes: RemoteHome, near: bool = True) -> None:
        """Every location probes every ten seconds, and silence is looked for."""
        for _ in range(seconds // 10):
            clock.tick(10)
            at_ms = clock.now_ms()
            due_ms = at_ms + 30_000
            for one in homes:
                one.write([seen(target_id, at_ms, location_id=oslo, due_ms=due_ms)])
            if near:
                nyc.renew(here, {}, first=False, steady=True)
                nyc.write([seen(target_id, at_ms, location_id=there, due_ms=due_ms)])
            sweep.sweep()

    with centre.serving(), ExitStack() as stack:
        relay = Relay(centre.port)
        stack.callback(relay.close)
        home = stack.enter_context(far_home(place, port=relay.port, key=centre.key))
        oslo = renewed(home, first=True).location_id
        nyc = centre.home(here)
        there = nyc.renew(here, {}, first=True, steady=False).location_id
        pass_by(60, home)
        assert [centre.state(target_id, one).verdict for one in (0, oslo, there)] == [Verdict.UP] * 3
        relay.cut()
        cut_ms = clock.now_ms()
        pass_by(120, home)
        assert [centre.state(target_id, one).verdict for one in (0, oslo, there)] == [
            Verdict.UP,
            Verdict.UNKNOWN,
            Verdict.UP,
        ]
        relay.restore()
        until_drained(home)
        pass_by(20, home)
        assert [centre.state(target_id, one).verdict for one in (0, oslo, there)] == [Verdict.UP] * 3
    assert centre.verdicts(target_id) == ["up"], "nobody was told anything"
    assert centre.verdicts(target_id, oslo) == ["up", "unknown", "up"]
    rows = [row.at_ms for row in centre.rows(target_id) if row.location_id == oslo]
    assert len(rows) == 20
    assert len(set(rows)) == 20
    assert any(at_ms > cut_ms for at_ms in rows)
    centre.close()


def test_a_backlog_goes_oldest_first_and_new_results_queue_up_behind(
    centre: Centre, relay: Relay, home: RemoteHome
) -> None:
    target_id = centre.add()
    now_ms = renewed(home, first=True).now_ms - 86_400_000
    relay.cut()
    for number in range(100):
        home.write([seen(target_id, at_ms) for at_ms in slots(now_ms + number * 100_000, 100)])
    assert len(home._spool) == 10_000
    relay.restore()
    home.write([seen(target_id, now_ms + 86_000_000, FAILED)])
    until_drained(home)
    assert len(centre.rows(target_id)) == 10_001
    assert centre.state(target_id).last_at_ms == now_ms + 86_000_000
    assert centre.verdicts(target_id) == ["up"]


def test_while_results_wait_no_shard_is_handed_over(centre: Centre, relay: Relay, home: RemoteHome) -> None:
    target_id = centre.add()
    now_ms = renewed(home, first=True).now_ms
    other = ME._replace(id="worker-2", life="life-2")
    centre.home(other).renew(other, {}, first=True, steady=False)
    assert len(renewed(home).leaving) == 32
    home._forwarder.close(1)  # nothing is sent any more
    home.write([seen(target_id, now_ms)])
    assert renewed(home).leaving == frozenset()


def test_a_stop_with_results_that_wait_keeps_the_lease_for_the_next_start(
    centre: Centre, relay: Relay, place: Path
) -> None:
    target_id = centre.add(failures_to_down=1)
    with far_home(place, port=relay.port, key=centre.key) as home:
        now_ms = renewed(home, first=True).now_ms
        relay.cut()
        home.write([seen(target_id, now_ms, FAILED)])
        home.leave(ME, {})
    relay.restore()
    with far_home(place, port=relay.port, key=centre.key) as home:
        again = home.renew(ME._replace(life="life-2"), {}, first=True, steady=False)
        assert set(again.epochs.values()) == {1}, "the same leases, and what waited counts"
        until_drained(home)
    assert centre.state(target_id).verdict is Verdict.DOWN


def test_where_another_worker_has_taken_over_what_was_seen_is_history_without_a_say(
    tmp_path: Path, place: Path
) -> None:
    clock = FakeClock()
    with ExitStack() as stack:
        centre = stack.enter_context(closing(Centre(f"sqlite:///{tmp_path / 'tocsin.db'}", clock=clock)))
        stack.enter_context(centre.serving())
        relay = stack.enter_context(closing(Relay(centre.port)))
        home = stack.enter_context(far_home(place, port=relay.port, key=centre.key))
        target_id = centre.add(failures_to_down=1)
        now_ms = renewed(home, first=True).now_ms
        home.write([seen(target_id, now_ms)])
        relay.cut()
        clock.tick(60)
        home.write([seen(target_id, now_ms + 20_000, FAILED), seen(target_id, now_ms + 40_000, FAILED)])
        other = ME._replace(id="worker-2", life="life-2")
        beside = centre.home(other)
        beside.renew(other, {}, first=True, steady=False)
        lease = beside.renew(other, {}, first=False, steady=True)
        assert set(lease.epochs.values()) == {2}
        beside.write([seen(target_id, now_ms + 40_000, epoch=2)])
        relay.restore()
        until_drained(home)
        assert centre.verdicts(target_id) == ["up"]
        rows = [(row.at_ms, Result(row.result)) for row in centre.rows(target_id)]
        assert rows == [(now_ms, PASSED), (now_ms + 20_000, FAILED), (now_ms + 40_000, PASSED)]


def test_a_shard_is_handed_over_with_the_time_up_to_which_it_was_probed(centre: Centre, home: RemoteHome) -> None:
    now_ms = renewed(home, first=True).now_ms
    other = ME._replace(id="worker-2", life="life-2")
    beside = centre.home(other)
    beside.renew(other, {}, first=True, steady=False)
    leaving = renewed(home).leaving
    kept = home.renew(ME, dict.fromkeys(leaving, now_ms + 7), first=False, steady=False)
    assert kept.epochs.keys() == set(range(64)) - leaving
    assert beside.renew(other, {}, first=False, steady=False).since == dict.fromkeys(leaving, now_ms + 7)


# ── restarted ─────────────────────────────────────────────────────────────────────────────────────────


def test_restarted_while_cut_off_it_goes_on_with_what_it_knew(centre: Centre, relay: Relay, place: Path) -> None:
    target_id = centre.add(username="u", password="a secret that must not be read")
    with far_home(place, port=relay.port, key=centre.key) as home:
        lease = renewed(home, first=True)
        known = home.load(range(64), -1)
        now_ms = lease.now_ms - 60_000
        home.write([seen(target_id, now_ms)])
        relay.cut()
        home.write([seen(target_id, now_ms + 1000, FAILED)])
    assert b"must not be read" not in b"".join(path.read_bytes() for path in place.glob("spool*"))
    reborn = ME._replace(life="life-2")
    with far_home(place, port=relay.port, key=centre.key) as home:
        again = home.renew(reborn, {}, first=True, steady=False)
        assert (again.location_id, again.epochs, again.leaving) == (lease.location_id, lease.epochs, frozenset())
        assert abs(again.now_ms - centre.clock.now_ms()) < 60_000
        assert home.load(range(64), -1) == known._replace(removed=())
        with pytest.raises(StoreError):
            home.renew(reborn, {}, first=False, steady=False)  # what is kept is told once, and is no renewal
        with pytest.raises(StoreError):
            home.load(range(64), known.revision)
        home.write([seen(target_id, now_ms + 2000, FAILED), seen(target_id, now_ms + 3000)])
        relay.restore()
        until(lambda: len(centre.rows(target_id)) == 4)
        assert home.renew(reborn, {}, first=False, steady=False).epochs == lease.epochs
    assert [row.at_ms for row in centre.rows(target_id)] == list(slots(now_ms, 4))
    assert centre.verdicts(target_id) == ["up", "down", "up"]


def test_what_is_known_keeps_up_with_changes(centre: Centre, relay: Relay, place: Path) -> None:
    stays, goes, comes = centre.add(name="stays"), centre.add(name="goes"), 0
    with far_home(place, port=relay.port, key=centre.key) as home:
        lease = renewed(home, first=True)
        first = home.load(range(64), -1)
        with centre.store.write() as conn:
            targets.delete(conn, goes, pipeline=centre.pipeline, now_ms=lease.now_ms)
            targets.change(
                conn, stays, {"name": "renamed"}, vault=centre.vault, pipeline=centre.pipeline, now_ms=lease.now_ms
            )
        comes = centre.add(name="comes")
        home.load(range(64), first.revision)
    relay.cut()
    with far_home(place, port=relay.port, key=centre.key) as home:
        home.renew(ME, {}, first=True, steady=False)
        found = home.load(range(64), -1)
        assert sorted((one.id, one.name) for one in found.targets) == [(stays, "renamed"), (comes, "comes")]
        assert found.revision > first.revision
        relay.restore()
        until(lambda: _succeeds(lambda: home.load(range(64), found.revision)))
        assert home.load(range(64), found.revision).targets == []


def test_targets_of_shards_that_are_lost_are_forgotten(centre: Centre, relay: Relay, place: Path) -> None:
    ids = [centre.add() for _ in range(10)]
    with far_home(place, port=relay.port, key=centre.key) as home:
        lease = renewed(home, first=True)
        home.load(range(64), -1)
        kept = {shard: epoch for shard, epoch in lease.epochs.items() if shard < 5}
        home._known.keep(ME, lease._replace(epochs=kept), ahead_ms=0)
    relay.cut()
    with far_home(place, port=relay.port, key=centre.key) as home:
        assert home.renew(ME, {}, first=True, steady=False).epochs == kept
        assert {one.id for one in home.load(range(5), -1).targets} == {one for one in ids if one % 64 < 5}
        with pytest.raises(StoreError):
            home.load(range(64), -1)


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except StoreError:
        return False
    return True


def test_a_start_that_finds_nobody_and_knows_nothing_says_so_and_tries_again(
    centre: Centre, relay: Relay, place: Path
) -> None:
    relay.cut()
    with capture_logs() as logs, far_home(place, port=relay.port, key=centre.key) as home:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{relay.port}.*refused"):
                home.renew(ME, {}, first=True, steady=False)
        with pytest.raises(StoreUnavailable, match="no lease yet"):
            home.write([seen(1, 1)])
        relay.restore()
        until(lambda: _succeeds(lambda: renewed(home, first=True)))
    said = [log["event"] for log in logs if log["log_level"] == "warning"]
    assert said == ["the aggregator cannot be reached; going on with what is known, results wait on disk"]
    assert "the aggregator answers again" in [log["event"] for log in logs]


def test_a_directory_that_was_copied_is_another_workers(
    centre: Centre, relay: Relay, place: Path, tmp_path: Path
) -> None:
    with far_home(place, port=relay.port, key=centre.key) as home:
        renewed(home, first=True)
        home.load(range(64), -1)
        copy = Path(shutil.copytree(place, tmp_path / "copy"))
        with far_home(copy, port=relay.port, key=centre.key) as other:
            other.renew(ME._replace(life="life-2"), {}, first=True, steady=False)
            with pytest.raises(IdentityInUse):
                renewed(home)
        # Under an identity of its own, which is the caller's to choose, it may.
        home.renew(ME._replace(id="worker-3"), {}, first=True, steady=False)


def test_another_location_knows_nothing_of_what_the_first_one_knew(centre: Centre, relay: Relay, place: Path) -> None:
    with far_home(place, port=relay.port, key=centre.key) as home:
        renewed(home, first=True)
        home.load(range(64), -1)
    relay.cut()
    with far_home(place, port=relay.port, key=centre.key) as home, pytest.raises(StoreError):
        home.renew(ME._replace(location="bergen"), {}, first=True, steady=False)


def test_what_was_seen_at_one_location_is_not_told_of_another(centre: Centre, relay: Relay, place: Path) -> None:
    target_id = centre.add()
    with far_home(place, port=relay.port, key=centre.key) as home:
        oslo = renewed(home, first=True)
        relay.cut()
        home.write([seen(target_id, oslo.now_ms)])
    relay.restore()
    moved = ME._replace(location="bergen", life="life-2")
    with far_home(place, port=relay.port, key=centre.key) as home:
        bergen = home.renew(moved, {}, first=True, steady=False)
        home.write([seen(target_id, oslo.now_ms + 1, location_id=bergen.location_id)])
        until(lambda: len(centre.rows(target_id)) == 2)
    assert [row.location_id for row in centre.rows(target_id)] == [oslo.location_id, bergen.location_id]


def test_the_clock_of_the_centre_counts_also_where_it_cannot_be_asked(
    centre: Centre, relay: Relay, place: Path
) -> None:
    wrong = FakeClock(centre.clock.now_ms() + 300_000)  # this machine is five minutes ahead
    with far_home(place, port=relay.port, key=centre.key, clock=wrong) as home:
        assert abs(renewed(home, first=True).now_ms - centre.clock.now_ms()) < 60_000
    relay.cut()
    wrong.tick(3600)
    with far_home(place, port=relay.port, key=centre.key, clock=wrong) as home:
        again = home.renew(ME, {}, first=True, steady=False)
        assert abs(again.now_ms - (wrong.now_ms() - 300_000)) < 60_000


def test_two_processes_cannot_share_one_spool(centre: Centre, relay: Relay, place: Path, home: RemoteHome) -> None:
    with pytest.raises(SpoolInUse), far_home(place, port=relay.port, key=centre.key):
        pass


# ── the key ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_wrong_key_is_said_once_and_tried_again(centre: Centre, relay: Relay, place: Path) -> None:
    with capture_logs() as logs, far_home(place, port=relay.port, key="tcs_wrong") as home:
        for _ in range(5):
            with pytest.raises(StoreUnavailable, match="this key is unknown or revoked"):
                renewed(home, first=True)
    warnings = [log for log in logs if log["log_level"] == "warning"]
    assert len(warnings) == 1
    assert "refuses this worker's key" in warnings[0]["event"]
    assert "unknown or revoked" in warnings[0]["reason"]


def test_a_key_without_the_scope_is_told_which_it_lacks(centre: Centre, relay: Relay, place: Path) -> None:
    key = centre.make_key("write")
    with (
        far_home(place, port=relay.port, key=key) as home,
        pytest.raises(StoreUnavailable, match="has not the scope “probe”"),
    ):
        renewed(home, first=True)


def test_a_key_revoked_at_work_costs_no_result(centre: Centre, relay: Relay, place: Path) -> None:
    target_id = centre.add()
    with capture_logs() as logs, far_home(place, port=relay.port, key=centre.key) as home:
        now_ms = renewed(home, first=True).now_ms
        home.write([seen(target_id, now_ms)])
        centre.revoke_keys()
        home.write([seen(target_id, now_ms + 1)])
        with pytest.raises(StoreUnavailable, match="revoked"):
            renewed(home)
        home.write([seen(target_id, now_ms + 2)])
        assert len(home._spool) == 2
    assert [log["event"] for log in logs if "refuses this worker's key" in log["event"]] == [
        "the aggregator refuses this worker's key; going on with what is known, results wait on disk"
    ]
    with far_home(place, port=relay.port, key=centre.make_key("probe")) as home:
        until_drained(home)
    assert [row.at_ms for row in centre.rows(target_id)] == list(slots(now_ms, 3, 1))


def test_keys_and_secrets_in_clear_are_warned_of_beyond_this_machine(centre: Centre, place: Path) -> None:
    with capture_logs() as logs, far_home(place, port=1, key="x", host="192.0.2.1"):
        pass
    assert any("travel in clear" in log["event"] for log in logs)
    with capture_logs() as logs, far_home(place, port=1, key="x", host="192.0.2.1", scheme="grpcs"):
        pass
    assert not any("travel in clear" in log["event"] for log in logs)


def test_over_tls_with_an_authority_of_ones_own(centre: Centre, place: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain, key, trusted = place / "chain.pem", place / "key.pem", place / "authority.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    target_id = centre.add()
    with (
        centre.serving(certificate_file=chain, key_file=key),
        far_home(
            place, scheme="grpcs", host="localhost", port=centre.port, key=centre.key, authority_file=trusted
        ) as home,
    ):
        home.write([seen(target_id, renewed(home, first=True).now_ms)])
        until_drained(home)
    assert len(centre.rows(target_id)) == 1


def test_an_authority_that_is_missing_is_said_at_the_start(place: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        far_home(place, scheme="grpcs", port=1, key="x", authority_file=place / "missing.pem"),
    ):
        pass


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────


def test_a_result_that_is_refused_for_good_is_given_up_and_the_others_get_through(
    centre: Centre, home: RemoteHome
) -> None:
    target_id = centre.add()
    now_ms = renewed(home, first=True).now_ms
    before = metrics.RESULTS_REFUSED._value.get()
    entries = [seen(target_id, at_ms) for at_ms in slots(now_ms, 50, 1)]
    entries[17] = seen(target_id, 5)  # in 1970
    with capture_logs() as logs:
        home.write(entries)
        until_drained(home)
    assert len(centre.rows(target_id)) == 49
    assert metrics.RESULTS_REFUSED._value.get() - before == 1
    (refused,) = [log for log in logs if log["log_level"] == "error"]
    assert (refused["target_id"], refused["at_ms"]) == (target_id, 5)
    assert "must be a time in the last year" in refused["reason"]


class Stumbling:
    """A centre with a defect that shows at one target."""

    def __init__(self, centre: Centre, target_id: int, times: int) -> None:
        self._home = centre.home(ME)
        self._target_id = target_id
        self.times = times

    def __getattr__(self, name: str) -> object:
        return getattr(self._home, name)

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        if self.times and any(entry.outcome.key.subject.id == self._target_id for entry in entries):
            if len(entries) == 1:
                self.times -= 1
            raise ZeroDivisionError
        return self._home.write(entries)


@pytest.mark.parametrize("times", [2, 100])
def test_a_result_the_aggregator_stumbles_over_is_tried_again_before_it_is_given_up(
    centre: Centre, place: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr("tocsin.services.worker.forwarder.DOUBTS_S", (0.01, 0.01, 0.01))
    fine, odd = centre.add(), centre.add()
    stumbling = Stumbling(centre, odd, times)
    with centre.serving(homes=lambda _: stumbling), far_home(place, port=centre.port, key=centre.key) as home:
        now_ms = renewed(home, first=True).now_ms
        home.write([seen(fine, now_ms), seen(odd, now_ms), seen(fine, now_ms + 1)])
        until_drained(home)
    assert len(centre.rows(fine)) == 2
    assert len(centre.rows(odd)) == (1 if times == 2 else 0)


# ── the disk ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_spool_keeps_every_change_of_verdict(centre: Centre, relay: Relay, place: Path) -> None:
    chance = random.Random(7)
    ids = [centre.add(failures_to_down=3, passes_to_up=2) for _ in range(3)]
    runs = {one: [chance.choice([1, 2, 3, 5, 40, 200]) for _ in range(30)] for one in ids}
    history = {
        one: [result for number, length in enumerate(runs[one]) for result in [(PASSED, FAILED)[number % 2]] * length]
        for one in ids
    }
    dropped, given_up = metrics.RESULTS_DROPPED._value.get(), metrics.RESULTS_REFUSED._value.get()
    sent = 0
    with far_home(place, port=relay.port, key=centre.key, spool_bytes=150_000) as home:
        now_ms = renewed(home, first=True).now_ms - 86_400_000
        relay.cut()
        for number in range(max(map(len, history.values()))):
            batch = [
                seen(one, now_ms + number * 1000, history[one][number]) for one in ids if number < len(history[one])
            ]
            sent += len(batch)
            home.write(batch)
            assert home._spool.size_bytes <= 150_000
        relay.restore()
        until_drained(home)
    for one in ids:
        assert centre.verdicts(one) == _verdicts(history[one], failures=3, passes=2)
    rows = sum(len(centre.rows(one)) for one in ids)
    assert rows < sent
    assert rows + metrics.RESULTS_DROPPED._value.get() - dropped == sent
    assert metrics.RESULTS_REFUSED._value.get() == given_up


def _verdicts(results: Sequence[Result], *, failures: int, passes: int) -> list[str]:
    """What is to be told, from the definition: so many in a row."""
    said: list[str] = []
    run = 0
    for number, result in enumerate(results):
        run = run + 1 if number and results[number - 1] is result else 1
        if result is FAILED and run >= failures and said[-1:] != ["down"]:
            said.append("down")
        elif result is PASSED and (run >= passes or not said) and said[-1:] != ["up"]:
            said.append("up")
    return said


@contextmanager
def full_disk(size_bytes: int) -> Iterator[None]:
    """As on a disk that is full: the system refuses to make any file longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        with capture_logs():  # which would go to a file that cannot grow either
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_with_a_full_disk_results_go_straight_or_wait_in_memory(postgres_url: str, place: Path) -> None:
    with ExitStack() as stack:
        centre = stack.enter_context(closing(Centre(postgres_url)))  # which has a disk of its own
        target_id = centre.add()
        stack.enter_context(centre.serving())
        relay = Relay(centre.port)
        stack.callback(relay.close)
        home = stack.enter_context(far_home(place, port=relay.port, key=centre.key))
        now_ms = renewed(home, first=True).now_ms
        with full_disk(1):
            home.write([seen(target_id, now_ms)])
            assert len(centre.rows(target_id)) == 1
            relay.cut()
            with pytest.raises(StoreUnavailable, match=r"disk.*127\.0\.0\.1"):
                home.write([seen(target_id, now_ms + 1)])
            relay.restore()
            until(lambda: _succeeds(lambda: home.write([seen(target_id, now_ms + 1)])))
        home.write([seen(target_id, now_ms + 2)])
        until_drained(home)
        assert [row.at_ms for row in centre.rows(target_id)] == list(slots(now_ms, 3, 1))


def test_on_a_full_disk_what_waits_there_goes_first(postgres_url: str, place: Path) -> None:
    with ExitStack() as stack:
        centre = stack.enter_context(closing(Centre(postgres_url)))
        target_id = centre.add(failures_to_down=1)
        stack.enter_context(centre.serving())
        relay = Relay(centre.port)
        stack.callback(relay.close)
        home = stack.enter_context(far_home(place, port=relay.port, key=centre.key))
        now_ms = renewed(home, first=True).now_ms
        relay.cut()
        home.write([seen(target_id, now_ms, FAILED)])
        with full_disk(1):
            with pytest.raises(StoreUnavailable, match="what waits on it is sent first"):
                home.write([seen(target_id, now_ms + 1)])
            relay.restore()
            until(lambda: _succeeds(lambda: home.write([seen(target_id, now_ms + 1)])))
        assert centre.verdicts(target_id) == ["down", "up"]


def test_where_nothing_can_be_kept_on_disk_it_works_all_the_same(centre: Centre, relay: Relay, tmp_path: Path) -> None:
    target_id = centre.add()
    place = tmp_path / "far"
    place.mkdir()
    (place / "spool.db").mkdir()
    with capture_logs() as logs, far_home(place, port=relay.port, key=centre.key) as home:
        now_ms = renewed(home, first=True).now_ms
        relay.cut()
        home.write([seen(target_id, now_ms)])
        relay.restore()
        until_drained(home)
    assert len(centre.rows(target_id)) == 1
    assert any("results wait in memory" in log["event"] for log in logs if log["log_level"] == "error")


def test_a_damaged_file_costs_what_was_in_it_and_no_more(centre: Centre, relay: Relay, place: Path) -> None:
    target_id = centre.add()
    (place / "spool.db").write_bytes(os.urandom(50_000))
    with capture_logs() as logs, far_home(place, port=relay.port, key=centre.key) as home:
        now_ms = renewed(home, first=True).now_ms
        home.write([seen(target_id, now_ms)])
        until_drained(home)
    assert len(centre.rows(target_id)) == 1
    assert any("moved aside" in log["event"] for log in logs if log["log_level"] == "error")


def test_batches_that_cannot_be_read_are_given_up(centre: Centre, relay: Relay, place: Path) -> None:
    target_id = centre.add()
    with far_home(place, port=relay.port, key=centre.key) as home:
        now_ms = renewed(home, first=True).now_ms
        relay.cut()
        home._spool.append(b"\xff\xff\xff", 3)
        home.write([seen(target_id, now_ms)])
        relay.restore()
        until_drained(home)
    assert len(centre.rows(target_id)) == 1


def test_with_another_secret_key_the_targets_are_not_read_and_the_results_are_sent(
    centre: Centre, relay: Relay, place: Path
) -> None:
    target_id = centre.add()
    with far_home(place, port=relay.port, key=centre.key) as home:
        now_ms = renewed(home, first=True).now_ms
        home.load(range(64), -1)
        relay.cut()
        home.write([seen(target_id, now_ms)])
    (place / "secret.key").unlink()
    with far_home(place, port=relay.port, key=centre.key) as home:
        home.renew(ME, {}, first=True, steady=False)
        with pytest.raises(StoreError):
            home.load(range(64), -1)
        relay.restore()
        until_drained(home)
    assert len(centre.rows(target_id)) == 1


# ── the centre goes away ──────────────────────────────────────────────────────────────────────────────


def test_an_aggregator_that_is_away_for_a_while_costs_nothing(centre: Centre, place: Path) -> None:
    target_id = centre.add()
    with ExitStack() as stack:
        with centre.serving():
            home = stack.enter_context(far_home(place, port=centre.port, key=centre.key))
            now_ms = renewed(home, first=True).now_ms
            home.write([seen(target_id, now_ms)])
        told(home, [seen(target_id, at_ms) for at_ms in slots(now_ms + 1, 50, 1)])
        with centre.serving():
            until_drained(home)
    assert [row.at_ms for row in centre.rows(target_id)] == list(slots(now_ms, 51, 1))


def test_a_database_that_is_away_for_a_while_costs_nothing(private_postgres: PrivateServer, place: Path) -> None:
    with ExitStack() as stack:
        centre = stack.enter_context(closing(Centre(private_postgres.create_database(migrated=False))))
        target_id = centre.add()
        stack.enter_context(centre.serving())
        home = stack.enter_context(far_home(place, port=centre.port, key=centre.key))
        now_ms = renewed(home, first=True).now_ms
        home.write([seen(target_id, now_ms)])
        private_postgres.stop()
        with pytest.raises(StoreUnavailable, match="database"):
            renewed(home)
        told(home, [seen(target_id, at_ms) for at_ms in slots(now_ms + 1, 50, 1)])
        private_postgres.start()
        until_drained(home, within_s=60)
        assert [row.at_ms for row in centre.rows(target_id)] == list(slots(now_ms, 51, 1))
