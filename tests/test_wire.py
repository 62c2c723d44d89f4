"""Everything that crosses the wire comes out as it went in; what makes no sense is refused by name."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import wire
from tocsin.core.decide import Policy, State, Verdict
from tocsin.core.outcome import CERTIFICATE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.target import TARGET, Target
from tocsin.home import Introduction, Lease, TargetChanges
from tocsin.pipeline import Entry, Settled
from tocsin.store.certificates import Chain
from tocsin.store.checks import CheckRow
from tocsin.v1 import probing_pb2 as pb

ROOT = Path(__file__).parent.parent
HERE = 3
NOW_MS = 1_800_000_000_000
POLICY = Policy(quorum="any")

words = st.text("aé漢🙂'\" ", max_size=8)
shards = st.integers(0, 63)
moments = st.integers(NOW_MS - 10**9, NOW_MS)
counts = st.integers(0, 2**31 - 1)
jsonable = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=3,
)
objects = st.dictionaries(words, jsonable, max_size=2)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    target_id, at_ms = draw(st.integers(1, 2**31 - 1)), draw(moments)
    rule = draw(st.sampled_from([REACHABLE, CERTIFICATE]))
    outcome = Outcome(
        StateKey(Subject(TARGET, target_id), rule, HERE),
        at_ms,
        draw(st.sampled_from(Result)),
        draw(st.none() | counts),
        draw(words),
        draw(st.none() | st.integers(at_ms + 1, at_ms + 10**9)),
    )
    check = evidence = chain = None
    if draw(st.booleans()):
        phases = [draw(st.none() | counts) for _ in range(5)]
        check = CheckRow._make(
            (at_ms, target_id, outcome.latency_us, *phases, HERE, int(outcome.result), outcome.reason or None)
        )
        evidence = draw(st.none() | objects)
    if draw(st.booleans()):
        certificate = {
            "subject": draw(words),
            "issuer": draw(words),
            "names": draw(st.lists(words, max_size=3)),
            "not_before": "2026-01-01T00:00:00Z",
            "not_after": "2027-01-01T00:00:00Z",
            "serial": "0f",
            "fingerprint": draw(words),
        }
        chain = Chain(target_id, HERE, at_ms, draw(st.integers(0, 2**45)), [certificate])
    return Entry(outcome, POLICY, check, evidence, chain, draw(st.integers(0, 2**40)))


@given(st.lists(entries(), max_size=5))
def test_results_come_out_as_they_went_in(sent: list[Entry]) -> None:
    request = pb.WriteRequest(entries=[wire.entry_message(entry) for entry in sent])
    received = pb.WriteRequest.FromString(request.SerializeToString())
    found = wire.entries_of(received.entries, location_id=HERE, policy=lambda *_: POLICY, now_ms=NOW_MS)
    assert found == sent


@given(entries())
def test_what_is_none_of_the_locations_is_left_out(sent: Entry) -> None:
    found = wire.entries_of([wire.entry_message(sent)], location_id=HERE, policy=lambda *_: None, now_ms=NOW_MS)
    assert found == []


def test_a_row_that_says_something_else_than_its_outcome_is_not_sent() -> None:
    row = CheckRow(NOW_MS, 8, None, None, None, None, None, None, HERE, int(Result.PASSED), None)
    outcome = Outcome(StateKey(Subject(TARGET, 7), REACHABLE, HERE), NOW_MS, Result.PASSED, None, "", None)
    with pytest.raises(ValueError, match="not the check of"):
        wire.entry_message(Entry(outcome, POLICY, row))


@given(
    st.builds(
        Target,
        id=st.integers(1, 2**31 - 1),
        name=words,
        slug=words,
        kind=words,
        settings=objects,
        interval_ms=counts,
        timeout_ms=counts,
        recheck_ms=counts,
        enabled=st.booleans(),
        tags=st.lists(words, max_size=3).map(tuple),
        group=words,
        assertions=st.lists(words, max_size=3).map(tuple),
        policy=st.builds(
            Policy,
            failures_to_down=st.integers(1, 100),
            passes_to_up=st.integers(1, 100),
            warnings_to_degraded=st.integers(1, 100),
            degraded_above_ms=st.none() | st.floats(0, 1e6),
        ),
        certificate_warning_days=st.none() | st.integers(1, 365),
        description=words,
        created_ms=moments,
        updated_ms=moments,
        revision=counts,
    )
)
def test_targets_come_out_as_they_went_in(target: Target) -> None:
    assert wire.target_of(pb.Target.FromString(wire.target_message(target).SerializeToString())) == target


def a_target(number: int, **settings: object) -> Target:
    return Target(number, f"target {number}", f"t-{number}", "http", settings, 1, 1, 1, True, (), "", ())


def test_many_targets_come_in_several_messages_and_a_list_that_breaks_off_is_none() -> None:
    changes = TargetChanges([a_target(n, body="x" * 1000) for n in range(1, 101)], [200], 77, False)
    messages = list(wire.load_messages(changes, most_bytes=10_000))
    assert len(messages) > 5
    assert wire.changes_of(messages) == changes._replace(removed=[200])
    assert wire.changes_of(messages[:-1]) is None
    assert wire.changes_of([]) is None


def test_a_target_that_cannot_be_read_is_not_probed() -> None:
    odd = pb.LoadResponse(targets=[pb.Target(id=1, settings=b"[]"), pb.Target(id=2, settings=b"{}")], revision=1)
    found = wire.changes_of([odd])
    assert found is not None
    assert ([target.id for target in found.targets], found.removed) == ([2], [1])


@given(st.dictionaries(shards, counts), st.frozensets(shards), st.integers(0, 2**45), st.dictionaries(shards, moments))
def test_leases_come_out_as_they_went_in(
    epochs: dict[int, int], leaving: frozenset[int], now_ms: int, since: dict[int, int]
) -> None:
    lease = Lease(HERE, epochs, leaving, now_ms, 10.0, since)
    assert wire.lease_of(pb.RenewResponse.FromString(wire.lease_message(lease).SerializeToString())) == lease


@given(
    st.builds(
        State,
        verdict=st.sampled_from(Verdict),
        since_ms=moments,
        reason=words,
        failures=st.integers(0, 100),
        passes=st.integers(0, 100),
        warnings=st.integers(0, 100),
        clean=st.integers(0, 100),
        run_since_ms=moments,
        pace_since_ms=moments,
        last_at_ms=moments,
        last_latency_us=st.none() | counts,
        due_ms=st.none() | moments,
        held=st.booleans(),
    )
)
def test_states_come_out_as_they_went_in(state: State) -> None:
    settled = Settled(StateKey(Subject(TARGET, 7), REACHABLE, HERE), state)
    message = pb.Settled.FromString(wire.settled_message(settled).SerializeToString())
    assert wire.settled_of(message, location_id=HERE) == settled


def test_a_verdict_of_a_newer_version_is_not_guessed_at() -> None:
    assert wire.settled_of(pb.Settled(state=pb.State(verdict=99)), location_id=HERE) is None  # type: ignore[arg-type]


ME = Introduction("1f", "2e", "fra", "host", "1.0", remote=True, clock_off_ms=-5)


def test_whoever_comes_over_the_wire_is_remote() -> None:
    assert wire.introduction_of(wire.worker_message(ME)) == ME
    assert wire.introduction_of(wire.worker_message(ME._replace(remote=False))) == ME


@pytest.mark.parametrize("name", ["id", "life", "location", "name", "version"])
@pytest.mark.parametrize("text", ["", " fra", "a\nb", "x" * 300])
def test_an_introduction_that_is_none_is_refused_by_field(name: str, text: str) -> None:
    changed = wire.worker_message(ME)
    setattr(changed, name, text)
    with pytest.raises(wire.Unfit, match=rf"^worker\.{name}: must have 1 to"):
        wire.introduction_of(changed)


@pytest.mark.parametrize("numbers", [[64], [2**32 - 1], [0] * 65])
def test_shards_that_are_none_are_refused(numbers: list[int]) -> None:
    with pytest.raises(wire.Unfit, match=r"^shards: must be at most 64 numbers below 64"):
        wire.shards_of("shards", numbers)


def an_entry() -> pb.Entry:
    return pb.Entry(
        target_id=7, rule=REACHABLE, at_ms=NOW_MS, result=pb.RESULT_FAILED, reason="down", check=pb.Check(), epoch=1
    )


def but(**changes: object) -> pb.Entry:
    """``check__tls_us`` is of the check in it; None takes a field away."""
    entry = an_entry()
    for name, value in changes.items():
        inner, _, field = name.rpartition("__")
        message: Any = getattr(entry, inner) if inner else entry
        if value is None:
            message.ClearField(field)
        else:
            setattr(message, field, value)
    return entry


def with_chain(*, seen_ms: int = NOW_MS, **certificate: Any) -> pb.Entry:
    entry = an_entry()
    entry.chain.CopyFrom(pb.Chain(seen_ms=seen_ms, certificates=[pb.Certificate(**certificate)]))
    return entry


@pytest.mark.parametrize(
    ("field", "entry"),
    [
        ("target_id", but(target_id=0)),
        ("target_id", but(target_id=-7)),
        ("target_id", but(target_id=2**40)),
        ("rule", but(rule="happy")),
        ("result", but(result=None)),
        ("result", but(result=17)),
        ("at_ms", but(at_ms=0)),
        ("at_ms", but(at_ms=NOW_MS + 2 * wire.AHEAD_MS)),
        ("latency_us", but(latency_us=2**32 - 1)),
        ("reason", but(reason="x" * 20_000)),
        ("reason", but(reason="a\0b")),
        ("next_due_ms", but(next_due_ms=NOW_MS)),
        ("next_due_ms", but(next_due_ms=2**60)),
        ("epoch", but(epoch=-1)),
        ("check.tls_us", but(check__tls_us=2**32 - 1)),
        ("evidence", but(evidence=b"{")),
        ("evidence", but(evidence=b"[1]")),
        ("evidence", but(evidence=b"[" * 100_000)),
        ("evidence", but(evidence=b'{"a":"' + b"x" * (2 << 20) + b'"}')),
        ("evidence", but(evidence=b"{}", check=None)),
        ("chain.certificates", but(chain__seen_ms=1)),
        ("chain.certificates[0].subject", with_chain(subject="\0")),
        ("chain.certificates[0].names", with_chain(names=["x" * 20_000])),
        ("chain.seen_ms", with_chain(seen_ms=-1)),
    ],
)
def test_a_result_that_makes_no_sense_is_refused_by_number_and_field(field: str, entry: pb.Entry) -> None:
    with pytest.raises(wire.Unfit) as refused:
        wire.entries_of([an_entry(), entry], location_id=HERE, policy=lambda *_: POLICY, now_ms=NOW_MS)
    assert refused.value.field == f"entries[1].{field}"
    assert str(refused.value).startswith(f"entries[1].{field}: must ")


def test_a_batch_that_is_too_long_is_refused() -> None:
    with pytest.raises(wire.Unfit, match=r"^entries: must be at most 5000"):
        wire.entries_of([an_entry()] * 5001, location_id=HERE, policy=lambda *_: POLICY, now_ms=NOW_MS)


def test_fields_of_a_newer_version_are_passed_over() -> None:
    """A worker of tomorrow adds fields, which the aggregator of today does not know."""
    unknown = b"\xfa\x3f\x05hello"  # field 1023, five bytes
    entry = pb.Entry.FromString(an_entry().SerializeToString() + unknown)
    (found,) = wire.entries_of([entry], location_id=HERE, policy=lambda *_: POLICY, now_ms=NOW_MS)
    assert found.outcome.reason == "down"


def test_a_message_of_an_older_version_lacks_fields_and_is_understood() -> None:
    """A worker that knows nothing of epochs, evidence and chains."""
    old = pb.Entry(target_id=7, rule=REACHABLE, at_ms=NOW_MS, result=pb.RESULT_PASSED)
    (found,) = wire.entries_of([old], location_id=HERE, policy=lambda *_: POLICY, now_ms=NOW_MS)
    assert (found.outcome.latency_us, found.outcome.next_due_ms, found.check, found.epoch) == (None, None, None, 0)


def test_the_generated_code_is_that_of_the_protocol(tmp_path: Path) -> None:
    subprocess.run(["scripts/proto.sh", str(tmp_path)], cwd=ROOT, check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "tocsin" / "v1").iterdir()}
    assert made
    assert made == {name: (ROOT / "src" / "tocsin" / "v1" / name).read_text() for name in made}


def test_every_field_of_a_target_and_a_state_crosses_the_wire() -> None:
    """A field that is added inside must be thought of here: on the wire, or left out on purpose."""
    inside = set(Target.__dataclass_fields__)
    assert inside == {field.name for field in pb.Target.DESCRIPTOR.fields}
    assert set(State._fields) == {field.name for field in pb.State.DESCRIPTOR.fields}
    assert set(Lease._fields) == {field.name for field in pb.RenewResponse.DESCRIPTOR.fields}
    assert {*Introduction._fields} - {"remote"} == {field.name for field in pb.Worker.DESCRIPTOR.fields}
    # The last three are the centre's; no target has the first.
    judged_here = set(Policy.__dataclass_fields__) - {"lasting_ms", "quorum", "silence", "silence_reason"}
    assert judged_here == {field.name for field in pb.Policy.DESCRIPTOR.fields}


def test_a_policy_loses_on_the_wire_what_only_the_centre_judges_by() -> None:
    target = replace(a_target(1), policy=Policy(quorum="all"))
    assert wire.target_of(wire.target_message(target)).policy == Policy()
