"""How often somebody may do something."""

from __future__ import annotations

import pytest

from tocsin.lib.rates import RateLimit


def test_a_rate_is_kept_on_average() -> None:
    limit = RateLimit(60)
    assert [limit.wait_s("a", now_s=0) for _ in range(60)] == [0.0] * 60
    assert limit.wait_s("a", now_s=0) == pytest.approx(1)
    assert limit.wait_s("b", now_s=0) == 0
    assert limit.wait_s("a", now_s=0.5) == pytest.approx(0.5)
    assert limit.wait_s("a", now_s=1.5) == 0
    assert limit.wait_s("a", now_s=1.5) == pytest.approx(0.5)


def test_a_rate_is_kept_for_so_many_and_no_more() -> None:
    limit = RateLimit(1)
    for number in range(RateLimit.MOST_KEYS + 1):
        assert limit.wait_s(str(number), now_s=0) == 0
    assert limit.wait_s("0", now_s=0) == 0, "forgotten"
    assert limit.wait_s(str(RateLimit.MOST_KEYS), now_s=0) > 0


def test_asking_how_long_counts_nothing() -> None:
    limit = RateLimit(1)
    assert [limit.would_wait_s("a", now_s=0) for _ in range(3)] == [0.0] * 3
    assert limit.wait_s("a", now_s=0) == 0
    assert limit.would_wait_s("a", now_s=0) == pytest.approx(60)
    assert limit.would_wait_s("a", now_s=45) == pytest.approx(15)
    assert limit.would_wait_s("b", now_s=45) == 0
