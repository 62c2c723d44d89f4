"""What a bus is: a bell, and a hand that passes on what was just stored. Nothing may depend on a message arriving;
everything is in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, NamedTuple, Protocol, get_args

from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import StateKey

Topic = Literal["checks", "transitions", "targets", "notifications", "channels", "workers", "machines"]
TOPICS: Final[frozenset[Topic]] = frozenset(get_args(Topic))


class Bus(Protocol):
    def ring(self, topic: Topic) -> None:
        """Says that something under ``topic`` is new. Never blocks; callable from any thread, also while the server
        is away."""
        ...

    def listen(self, topics: Iterable[Topic]) -> AbstractAsyncContextManager[Bell]:
        """A bell that wakes its one listener, on whichever event loop that is. Rings that come while it works are
        folded into one. After a time in which rings may have been missed, all of its topics are rung once."""
        ...

    def publish(self, settled: Iterable[tuple[StateKey, State]]) -> None:
        """Hands round how states stand since a commit, and then rings "checks" wherever they arrive. Never blocks;
        callable from any thread. A cache: where too much waits the oldest goes first."""
        ...

    def follow(self) -> AbstractAsyncContextManager[Feed]:
        """What is published from now on, for one follower, on whichever event loop that is."""
        ...


class Bell(Protocol):
    async def wait(self, timeout_s: float) -> frozenset[Topic]:
        """The topics rung since the last call; empty when ``timeout_s`` passed in silence."""
        ...


class Current(NamedTuple):
    """As much of a state as is handed round."""

    verdict: Verdict
    since_ms: int
    reason: str
    last_at_ms: int
    last_latency_us: int | None
    due_ms: int | None

    @classmethod
    def of(cls, state: State) -> Current:
        return cls(state.verdict, state.since_ms, state.reason, state.last_at_ms, state.last_latency_us, state.due_ms)


class Handed(NamedTuple):
    """The newest of every state handed round since the last look. Without ``complete`` some may be missing: then the
    database has to be asked. It never is in the first look, nor where the engine hands on nothing."""

    states: Mapping[StateKey, Current]
    complete: bool


class Feed(Protocol):
    def take(self) -> Handed:
        """What came since the last call. Never waits."""
        ...
