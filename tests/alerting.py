"""Everything between an outcome and a message that is due, on a store, with a clock turned by hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tests.clocks import FakeClock
from tests.contract.rows import add_machine
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import channels, rules, targets
from tocsin.channels.frame import Delivery
from tocsin.core.alerting import AlertTiming, Rule, message_of
from tocsin.core.bands import CPU
from tocsin.core.decide import Policy
from tocsin.core.outcome import HEADLINE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline
from tocsin.services.alerts import Outbox
from tocsin.store import notifications
from tocsin.store import rules as store_rules
from tocsin.store.engine import Store
from tocsin.store.notifications import Notification
from tocsin.store.parents import set_parents

DELIVERED = Delivery(True, "answered 200 OK", 12)
AT_ONCE = Policy(failures_to_down=1, passes_to_up=1, warnings_to_degraded=1)
SECRET_KEY = "a key for tests, long enough"


@dataclass
class Stage:
    """Everything between an outcome and a message that is due."""

    store: Store
    clock: FakeClock = field(default_factory=FakeClock)
    vault: Vault = field(default_factory=lambda: Vault(SECRET_KEY))
    jitter: float = 0.0

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(self.store, MemoryBus(), self.clock)
        self.outbox = self.another_process()
        with self.store.write() as conn:
            rules.ensure_default_rule(conn, now_ms=self.clock.now_ms())
        self.default_rule_id = self.rules()[0].id

    def another_process(self) -> Outbox:
        return Outbox(
            store=self.store,
            vault=self.vault,
            clock=self.clock,
            link_base="http://127.0.0.1:8080",
            timing=AlertTiming(),
            jitter=lambda: self.jitter,
        )

    def rules(self) -> list[Rule]:
        with self.store.read() as conn:
            return [stored.rule for stored in store_rules.all_rules(conn)]

    def target(self, name: str, *tags: str, parents: Collection[int] = (), **fields: object) -> int:
        return self.targets(name, parents=parents, tags=list(tags), **fields)[0]

    def targets(self, *names: str, parents: Collection[int] = (), **fields: object) -> list[int]:
        """New targets that are alike but for their names."""
        given = {"kind": "tcp", "host": "127.0.0.1", "port": 1, **fields}
        made: list[int] = []
        with self.store.write() as conn:
            for name in names:
                row = targets.create(conn, {**given, "name": name}, vault=self.vault, now_ms=self.clock.now_ms())
                set_parents(conn, row.id, parents)
                made.append(row.id)
        return made

    def machine(self, name: str, *tags: str) -> int:
        with self.store.write() as conn:
            return add_machine(conn, name, *tags)

    def channel(self, name: str) -> int:
        given = {"kind": "webhook", "name": name, "url": "http://127.0.0.1:9/"}
        with self.store.write() as conn:
            return channels.create(conn, given, vault=self.vault, now_ms=self.clock.now_ms()).id

    def change_channel(self, channel_id: int, **given: object) -> None:
        with self.store.write() as conn:
            channels.change(conn, channel_id, given, vault=self.vault, now_ms=self.clock.now_ms())

    def change_rule(self, rule_id: int, **given: object) -> None:
        with self.store.write() as conn:
            rules.change(conn, rule_id, given, now_ms=self.clock.now_ms())

    def turn(
        self,
        result: Result,
        *target_ids: int,
        rule: str = REACHABLE,
        reason: str = "refused",
        location_id: int = 1,
        policy: Policy = AT_ONCE,
    ) -> None:
        """One outcome, a moment later; unless ``policy`` says otherwise it settles the verdict by itself."""
        keys = [StateKey(Subject(TARGET, number), rule, location_id) for number in target_ids]
        self._turn(result, keys, reason, policy)

    def turn_machine(self, result: Result, *machine_ids: int, rule: str = CPU, reason: str = "CPU 97 %") -> None:
        """The same of machines; what passes has no reason."""
        keys = [StateKey(Subject(MACHINE, number), rule, HEADLINE) for number in machine_ids]
        self._turn(result, keys, "" if result is Result.PASSED else reason, AT_ONCE)

    def _turn(self, result: Result, keys: Sequence[StateKey], reason: str, policy: Policy) -> None:
        self.clock.tick(0.001)
        at_ms = self.clock.now_ms()
        self.pipeline.write([Entry(Outcome(key, at_ms, result, 1000, reason, None), policy) for key in keys])

    def down(self, *target_ids: int) -> None:
        self.turn(Result.FAILED, *target_ids)

    def up(self, *target_ids: int) -> None:
        self.turn(Result.PASSED, *target_ids, reason="")

    def unknown(self, *target_ids: int) -> None:
        self.turn(Result.UNMEASURED, *target_ids, reason="no network")

    def settle(self, seconds: float = 10) -> list[int]:
        """What is new is routed, then quiet passes; the channels with something to send."""
        self.outbox.advance()
        self.clock.tick(seconds)
        return self.outbox.advance()

    def send(self, channel_id: int, delivery: Delivery = DELIVERED) -> str | None:
        """The next message of a channel is sent, to this end; its title, None when there is none."""
        sending = self.outbox.claim(channel_id)
        if sending is None:
            return None
        self.outbox.record(sending.claimed, delivery, self.clock.now_ms())
        return message_of(sending.claimed.document).title

    def messages(self, channel_id: int) -> list[Notification]:
        """Oldest first."""
        with self.store.read() as conn:
            return notifications.page(conn, limit=1000, channel_id=channel_id)[::-1]

    def titles(self, channel_id: int) -> list[str]:
        return [message.title for message in self.messages(channel_id)]
