"""Watchers of a live view: those who keep up get every message, those who do not get a fresh whole."""

from __future__ import annotations

from tocsin.lib.watchers import BACKLOG, Watcher, Watchers


def waiting(watcher: Watcher) -> list[bytes]:
    return [watcher.messages.get_nowait() for _ in range(watcher.messages.qsize())]


async def whole() -> bytes:
    return b"whole"


async def test_everybody_is_given_the_same_after_the_whole() -> None:
    watchers = Watchers(most=2)
    one, other = watchers.add(b"first"), watchers.add(b"second")
    assert watchers.is_full
    await watchers.give(b"change", whole)
    assert (waiting(one), waiting(other)) == ([b"first", b"change"], [b"second", b"change"])


async def test_a_slow_one_has_a_bounded_backlog_and_then_a_fresh_whole() -> None:
    watchers = Watchers(most=2)
    slow, quick = watchers.add(b"first"), watchers.add(b"first")
    for number in range(BACKLOG + 5):
        await watchers.give(b"%d" % number, whole)
        assert waiting(quick)[-1] == b"%d" % number
    assert slow.behind
    await watchers.give(None, whole)
    assert slow.messages.qsize() == BACKLOG, "it has not taken anything yet"
    assert len(waiting(slow)) == BACKLOG
    await watchers.give(b"late", whole)
    assert waiting(slow) == [b"whole"], "the whole includes what was late"
    await watchers.give(b"next", whole)
    assert waiting(slow) == [b"next"]


async def test_who_has_left_is_given_nothing() -> None:
    watchers = Watchers(most=1)
    gone = watchers.add(b"first")
    watchers.discard(gone)
    assert not watchers.is_full
    await watchers.give(b"change", whole)
    assert waiting(gone) == [b"first"]
