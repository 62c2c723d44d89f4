from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.rows import add_machine, add_targets, key
from tocsin.core.bands import CPU, REPORTING
from tocsin.core.decide import State, Transition, Verdict
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.core.uptime import CODES
from tocsin.store import machines, states, transitions
from tocsin.store.engine import Store
from tocsin.store.transitions import StoredTransition

UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN


def change(
    target_id: int, at_ms: int, after: Verdict = UP, before: Verdict = UNKNOWN, rule: str = REACHABLE
) -> Transition:
    return Transition(key(target_id, rule), before, after, at_ms, at_ms + 5, f"because {at_ms}")


def add(store: Store, *changes: Transition) -> list[int]:
    with store.write() as conn:
        return transitions.insert_many(conn, changes, recorded_ms=9_999)


def test_ids_come_back_in_the_order_given_and_grow(store: Store) -> None:
    first = add(store, *(change(number % 7 + 1, 1_000 - number) for number in range(600)))
    assert first == sorted(first)
    assert add(store, change(1, 5))[0] > first[-1]
    with store.read() as conn:
        found = transitions.get_many(conn, [first[0], first[599], 10**9])
    assert {number: stored.transition.at_ms for number, stored in found.items()} == {first[0]: 1_000, first[599]: 401}
    assert add(store) == []


def test_a_subjects_transitions_are_newest_first_and_say_when_they_ended(store: Store) -> None:
    one, two, other = change(1, 100), change(1, 200, DOWN, UP), change(2, 150)
    certificate = change(1, 170, Verdict.DEGRADED, UNKNOWN, CERTIFICATE)
    ids = add(store, one, two, other, certificate)
    stored = [StoredTransition(ids[1], two, 9_999, None), StoredTransition(ids[0], one, 9_999, 200)]
    with store.read() as conn:
        assert transitions.of_subject(conn, one.key.subject, from_ms=0, to_ms=1_000) == stored
        assert transitions.of_subject(conn, one.key.subject, from_ms=0, to_ms=200) == stored[1:]
        assert transitions.of_subject(conn, one.key.subject, from_ms=101, to_ms=201) == stored[:1]
        every_rule = transitions.of_subject(conn, one.key.subject, None, from_ms=0, to_ms=1_000)
        assert [found.transition for found in every_rule] == [two, certificate, one]


def test_what_stood_when_a_window_began_is_among_its_transitions(store: Store) -> None:
    """One under each rule, and only if it still did."""
    several = [change(1, at_ms) for at_ms in (100, 200, 300, 500, 600)]
    certificate = [change(1, at_ms, rule=CERTIFICATE) for at_ms in (150, 400)]
    reporting = [change(1, at_ms, rule="reporting") for at_ms in (50, 250)]
    add(store, *several, *certificate, *reporting, change(2, 350))
    with store.write() as conn:
        # As a verdict that moves leaves them; each state is there once.
        states.write_many(conn, [(one.key, State()) for one in (several[0], certificate[0], reporting[0])])

    def found(rule: str | None, from_ms: int, to_ms: int, *, limit: int | None = None) -> list[tuple[str, int]]:
        with store.read() as conn:
            rows: list[StoredTransition] = []
            while page := transitions.of_subject(
                conn,
                key(1).subject,
                rule,
                from_ms=from_ms,
                to_ms=to_ms,
                limit=limit,
                before=(rows[-1].transition.at_ms, rows[-1].id) if rows else None,
                lasting=True,
            ):
                rows += page
                if limit is None:
                    break
        return [(row.transition.key.rule, row.transition.at_ms) for row in rows]

    those = [(REACHABLE, 500), (CERTIFICATE, 400), (REACHABLE, 300), ("reporting", 250)]
    assert found(None, 401, 550) == those
    assert found(None, 401, 550, limit=1) == found(None, 401, 550, limit=3) == those
    assert found(None, 400, 550) == those, "what ended as it began is not among them"
    assert found(REACHABLE, 700, 800) == [(REACHABLE, 600)]
    assert found(None, 0, 60) == [("reporting", 50)]
    assert found(None, 10, 20) == []


def test_pages_join_up_without_a_gap_or_a_repeat(store: Store) -> None:
    add(store, *(change(1, at_ms) for at_ms in (100, 200, 200, 200, 300, 400)))
    subject = key(1).subject
    with store.read() as conn:
        whole = transitions.of_subject(conn, subject, from_ms=0, to_ms=1_000)
        paged: list[StoredTransition] = []
        while page := transitions.of_subject(
            conn,
            subject,
            from_ms=0,
            to_ms=1_000,
            limit=2,
            before=(paged[-1].transition.at_ms, paged[-1].id) if paged else None,
        ):
            paged += page
        assert paged == whole == transitions.recent(conn, limit=10)
    assert [found.transition.at_ms for found in whole] == [400, 300, 200, 200, 200, 100]


def test_the_newest_of_all(store: Store) -> None:
    add(store, change(1, 100), change(2, 300), change(3, 200, rule=CERTIFICATE))
    with store.read() as conn:
        assert [found.transition.at_ms for found in transitions.recent(conn, limit=2)] == [300, 200]
        assert [found.transition.at_ms for found in transitions.recent(conn, limit=9, rule=REACHABLE)] == [300, 100]
        within = transitions.recent(conn, from_ms=150, to_ms=300, limit=9)
        assert [found.transition.at_ms for found in within] == [200]


def test_news_is_neither_what_was_found_well_nor_what_is_deleted(store: Store) -> None:
    first_seen_up, first_seen_down = change(1, 100, UP, UNKNOWN), change(2, 200, DOWN, UNKNOWN)
    lost, recovered = change(1, 300, UNKNOWN, UP), change(2, 400, UP, DOWN)
    add(store, first_seen_up, first_seen_down, lost, recovered, change(3, 500, DOWN, UP))
    with store.write() as conn:
        add_targets(conn, 1, 2, 3)
        conn.exec_driver_sql("UPDATE targets SET deleted_ms = 600 WHERE id = 3")
    with store.read() as conn:
        found = transitions.news(conn, limit=9)
    assert [stored.transition for stored in found] == [recovered, lost, first_seen_down]


def of_machine(machine_id: int, at_ms: int, after: Verdict, before: Verdict, rule: str = CPU) -> Transition:
    return Transition(
        StateKey(Subject(MACHINE, machine_id), rule, HEADLINE), before, after, at_ms, at_ms, f"because {at_ms}"
    )


def test_news_of_machines_says_once_that_one_is_silent(store: Store) -> None:
    with store.write() as conn:
        web, db = add_machine(conn, "web-1"), add_machine(conn, "db-1")
        add_targets(conn, web, db)
    silent, unmeasured = of_machine(web, 100, DOWN, UP, REPORTING), of_machine(web, 101, UNKNOWN, UP)
    back, measured = of_machine(web, 200, UP, DOWN, REPORTING), of_machine(web, 201, UP, UNKNOWN)
    of_target = change(web, 300, DOWN, UP)
    add(store, silent, unmeasured, back, measured, of_machine(db, 250, DOWN, UP), of_target)
    with store.write() as conn:
        machines.delete(conn, db, 400)
    with store.read() as conn:
        assert [stored.transition for stored in transitions.news(conn, limit=9)] == [of_target, back, silent]
        assert len(transitions.recent(conn, limit=9)) == 6, "the timeline has everything"
    with store.write() as conn:
        conn.exec_driver_sql(f"UPDATE targets SET deleted_ms = 400 WHERE id = {web}")
    with store.read() as conn:
        assert [stored.transition for stored in transitions.news(conn, limit=9)] == [back, silent]


def test_names_of_targets_and_machines_with_the_same_numbers(store: Store) -> None:
    with store.write() as conn:
        web = add_machine(conn, "web-1")
        add_targets(conn, web)
        machines.delete(conn, web, 5)
    host, target, nobody = Subject(MACHINE, web), Subject(TARGET, web), Subject(MACHINE, 99)
    with store.read() as conn:
        assert transitions.names(conn, {host, target, nobody}) == {host: "web-1", target: f"target {web}"}
        assert transitions.names(conn, []) == {}


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), max_size=12), st.integers(0, 20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_uptime_gets_what_changed_since_and_what_stood_then(
    store: Store, made: list[tuple[int, int]], from_ms: int
) -> None:
    made.sort(key=lambda pair: pair[1])
    with store.write() as conn:
        conn.exec_driver_sql("DELETE FROM targets")
        add_targets(conn, 1, 2, 3)
        conn.exec_driver_sql("DELETE FROM transitions")
        transitions.insert_many(conn, [change(target_id, at_ms) for target_id, at_ms in made], 0)
        found = transitions.for_uptime(conn, None, from_ms)
        only_two = transitions.for_uptime(conn, [2], from_ms)
    for target_id in (1, 2, 3):
        mine = [at_ms for subject, at_ms in made if subject == target_id]
        standing = [at_ms for at_ms in mine if at_ms <= from_ms][-1:]
        since = [at_ms for at_ms in mine if at_ms > from_ms]
        assert found[found[:, 0] == target_id, 1].tolist() == standing + since
    assert only_two.tolist() == found[found[:, 0] == 2].tolist()
    assert found[:, 0].tolist() == sorted(found[:, 0].tolist())


def test_uptime_leaves_other_rules_locations_and_subjects_out(store: Store) -> None:
    machine = change(1, 100)._replace(key=key(1)._replace(subject=key(1).subject._replace(kind="machine")))
    with store.write() as conn:
        add_targets(conn, 1)
    elsewhere = change(1, 70)._replace(key=key(1, location_id=2))
    add(store, change(1, 50, DOWN), change(1, 60, rule=CERTIFICATE), machine, elsewhere)
    with store.read() as conn:
        assert transitions.for_uptime(conn, None, 0).tolist() == [[1, 50, CODES[DOWN]]]
        assert transitions.for_uptime(conn, None, 0, rule=CERTIFICATE).tolist() == [[1, 60, CODES[UP]]]
        assert transitions.for_uptime(conn, None, 0, location_id=2).tolist() == [[1, 70, CODES[UP]]]


def test_what_was_stored_after_a_number_are_headlines_in_order(store: Store) -> None:
    first, *rest = add(store, *(change(number, 1_000 - number) for number in range(1, 6)))
    seen_from_one_place = change(1, 50)._replace(key=key(1, location_id=3))
    add(store, seen_from_one_place)
    later = add(store, change(9, 1))
    with store.read() as conn:
        assert transitions.ids_after(conn, first) == [*rest, *later]
        assert transitions.ids_after(conn, later[0]) == []
        assert transitions.newest_id(conn) == later[0]
