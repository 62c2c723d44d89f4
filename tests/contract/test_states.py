from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.rows import key
from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import CERTIFICATE, StateKey, Subject
from tocsin.store import states
from tocsin.store.engine import Store

small = st.integers(0, 32_767)
moment = st.integers(0, 2**53)
any_state = st.builds(
    State,
    verdict=st.sampled_from(Verdict),
    since_ms=moment,
    reason=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    failures=small,
    passes=small,
    warnings=small,
    clean=small,
    run_since_ms=moment,
    pace_since_ms=moment,
    last_at_ms=moment,
    last_latency_us=st.none() | st.integers(0, 2**31 - 1),
    due_ms=st.none() | moment,
    held=st.booleans(),
)
any_key = st.builds(
    StateKey,
    st.builds(Subject, st.sampled_from(["target", "machine"]), st.integers(1, 2**40)),
    st.sampled_from(["reachable", "certificate"]),
    st.integers(1, 3),
)


@given(st.dictionaries(any_key, any_state, max_size=30), st.lists(any_key, max_size=5, unique=True))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read_again(store: Store, written: dict[StateKey, State], others: list[StateKey]) -> None:
    with store.write() as conn:
        before = states.read_many(conn, [*written, *others])
        states.write_many(conn, list(written.items()))
        after = states.read_many(conn, [*written, *others])
    assert after == {**before, **written}


def test_a_key_never_written_has_a_fresh_state(store: Store) -> None:
    with store.write() as conn:
        assert states.read_many(conn, [key(1), key(2)]) == {key(1): State(), key(2): State()}
        assert states.read_many(conn, []) == {}


def test_a_batch_larger_than_a_statement_is_written_whole(store: Store) -> None:
    items = [(key(number), State(since_ms=number)) for number in range(1, 1_234)]
    with store.write() as conn:
        states.write_many(conn, items)
        states.write_many(conn, [(name, state._replace(reason="again")) for name, state in items])
    with store.read() as conn:
        found = states.for_targets(conn)
    assert found == [(name, state._replace(reason="again")) for name, state in items]


def test_overdue_are_those_due_before_now_and_not_held_longest_first(store: Store) -> None:
    items = [
        (key(1), State(due_ms=300)),
        (key(2), State(due_ms=100)),
        (key(3), State(due_ms=None)),
        (key(4), State(due_ms=50, held=True)),
        (key(5), State(due_ms=1_000)),
    ]
    with store.write() as conn:
        states.write_many(conn, items)
    with store.read() as conn:
        assert states.overdue(conn, 1_000) == [items[1], items[0]]
        assert states.overdue(conn, 1_000, 1) == [items[1]]
        assert states.overdue(conn, 100) == []


def test_states_of_targets_come_by_target(store: Store) -> None:
    items = [
        (key(2, CERTIFICATE), State(reason="soon")),
        (key(2), State(Verdict.UP)),
        (key(1), State(Verdict.DOWN)),
    ]
    with store.write() as conn:
        states.write_many(conn, [*items, (StateKey(Subject("machine", 2), "load", 1), State())])
    with store.read() as conn:
        assert states.for_targets(conn) == [items[2], items[0], items[1]]
        assert states.for_targets(conn, [2]) == [items[0], items[1]]
        assert states.for_targets(conn, []) == []
