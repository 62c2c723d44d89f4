from __future__ import annotations

from tocsin.store import leases
from tocsin.store.engine import Store


def test_a_lease_has_one_holder_until_it_runs_out(store: Store) -> None:
    with store.write() as conn:
        assert leases.take(conn, "job", "a", now_ms=0, for_ms=100)
        assert not leases.take(conn, "job", "b", now_ms=99, for_ms=100)
        assert leases.take(conn, "other", "b", now_ms=0, for_ms=100)
        assert leases.take(conn, "job", "b", now_ms=100, for_ms=100)
        assert not leases.take(conn, "job", "a", now_ms=150, for_ms=100)


def test_the_holder_may_renew(store: Store) -> None:
    with store.write() as conn:
        assert leases.take(conn, "job", "a", now_ms=0, for_ms=100)
        assert leases.take(conn, "job", "a", now_ms=90, for_ms=100)
        assert not leases.take(conn, "job", "b", now_ms=189, for_ms=100)
        assert leases.until_ms(conn, "job") == 190
        assert leases.until_ms(conn, "never") is None


def test_a_renewal_tells_whether_anybody_had_it_meanwhile(store: Store) -> None:
    with store.write() as conn:
        assert not leases.renew(conn, "job", "a", now_ms=0, for_ms=100)
        leases.take(conn, "job", "a", now_ms=0, for_ms=100)
        assert leases.renew(conn, "job", "a", now_ms=500, for_ms=100), "it ran out and nobody took it"
        assert not leases.take(conn, "job", "b", now_ms=599, for_ms=100)
        assert leases.take(conn, "job", "b", now_ms=600, for_ms=100)
        assert not leases.renew(conn, "job", "a", now_ms=601, for_ms=100)
        leases.release(conn, "job", "b")
        assert not leases.renew(conn, "job", "a", now_ms=602, for_ms=100), "another has taken it and given it back"
        assert leases.until_ms(conn, "job") is None


def test_a_clock_that_was_ahead_leaves_no_lease_for_ever(store: Store) -> None:
    with store.write() as conn:
        assert leases.take(conn, "job", "a", now_ms=10**9, for_ms=100)
        assert not leases.take(conn, "job", "b", now_ms=10**9 - 99, for_ms=100)
        assert leases.take(conn, "job", "b", now_ms=0, for_ms=100)


def test_only_the_holder_gives_it_back(store: Store) -> None:
    with store.write() as conn:
        leases.take(conn, "job", "a", now_ms=0, for_ms=100)
        leases.release(conn, "job", "b")
        assert not leases.take(conn, "job", "b", now_ms=1, for_ms=100)
        leases.release(conn, "job", "a")
        assert leases.take(conn, "job", "b", now_ms=1, for_ms=100)
