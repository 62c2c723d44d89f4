"""Rules as people write them: what is refused, and what stays possible when what they name is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alerting import Stage
from tocsin.catalog import channels, rules, targets
from tocsin.catalog.errors import Conflict, Invalid, NotFound
from tocsin.core.alerting import DEFAULT_EVENTS, Event, Rule
from tocsin.store import machines
from tocsin.store.engine import Store

NOW_MS = 1_800_000_000_000


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    opened = Store(f"sqlite:///{tmp_path / 'tocsin.db'}")
    opened.migrate()
    yield Stage(opened)
    opened.close()


def create(stage: Stage, **given: Any) -> Rule:
    with stage.store.write() as conn:
        return rules.create(conn, {"name": "rule", **given}, now_ms=NOW_MS)


def change(stage: Stage, rule_id: int, **given: Any) -> Rule:
    with stage.store.write() as conn:
        return rules.change(conn, rule_id, given, now_ms=NOW_MS)


def get(stage: Stage, rule_id: int) -> Rule:
    with stage.store.read() as conn:
        return rules.get(conn, rule_id)


def test_the_default_rule_tells_what_matters_everywhere_and_is_made_once(stage: Stage) -> None:
    with stage.store.write() as conn:
        rules.ensure_default_rule(conn, now_ms=NOW_MS)
    (rule,) = stage.rules()
    assert rules.describe(rule) == {
        "id": rule.id,
        "is_default": True,
        "name": "Everything",
        "enabled": True,
        "target_ids": [],
        "machine_ids": [],
        "tags": [],
        "events": ["down", "recovered", "certificate"],
        "channel_ids": [],
        "reminder_s": 3600,
    }


def test_the_default_rule_stays_but_may_be_switched_off(stage: Stage) -> None:
    with stage.store.write() as conn, pytest.raises(Conflict, match="switch it off"):
        rules.delete(conn, stage.default_rule_id)
    assert not change(stage, stage.default_rule_id, enabled=False).enabled
    with stage.store.write() as conn:
        rules.ensure_default_rule(conn, now_ms=NOW_MS)
    assert [rule.enabled for rule in stage.rules()] == [False]


def test_a_rule_is_stored_as_it_was_written(stage: Stage) -> None:
    hook, shop, web = stage.channel("hook"), stage.target("shop"), stage.machine("web-1")
    made = create(
        stage,
        target_ids=[shop, shop],
        machine_ids=[web, web],
        tags=["prod", "prod"],
        events=["down", "degraded", "down"],
        channel_ids=[hook],
        reminder_s=None,
    )
    assert get(stage, made.id) == made
    assert made == Rule(
        id=made.id,
        name="rule",
        enabled=True,
        is_default=False,
        target_ids=(shop,),
        machine_ids=(web,),
        tags=("prod",),
        events=(Event.DOWN, Event.DEGRADED),
        channel_ids=(hook,),
        reminder_s=None,
    )


def test_what_is_left_out_takes_the_default_of_the_default_rule(stage: Stage) -> None:
    made = create(stage, channel_ids=[stage.channel("hook")])
    assert (made.events, made.reminder_s) == (DEFAULT_EVENTS, 3600)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"name": ""}, "name", "at least 1"),
        ({"channel_ids": []}, "channel_ids", "at least one channel"),
        ({"channel_ids": [99]}, "channel_ids.0", "no channel 99"),
        ({"target_ids": [1, 99]}, "target_ids.0", "no target 1"),
        ({"target_ids": ["1"]}, "target_ids.0", "valid integer"),
        ({"machine_ids": [1, 99]}, "machine_ids.0", "no machine 1"),
        ({"machine_ids": ["1"]}, "machine_ids.0", "valid integer"),
        ({"events": []}, "events", "at least 1"),
        ({"events": ["reminder"]}, "events.0", "'down', 'recovered', 'degraded' or 'certificate'"),
        ({"reminder_s": 5}, "reminder_s", "greater than or equal to 60"),
        ({"is_default": True}, "is_default", "unknown field"),
    ],
)
def test_what_is_wrong_is_named(stage: Stage, given: dict[str, Any], field: str, words: str) -> None:
    hook = stage.channel("hook")
    with pytest.raises(Invalid) as raised:
        create(stage, **{"channel_ids": [hook], **given})
    found = {error.field: error.message for error in raised.value.errors}
    assert words in found[field]


def test_a_rule_may_be_changed_though_what_it_names_is_gone(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    made = create(stage, target_ids=[shop], channel_ids=[hook])
    with stage.store.write() as conn:
        targets.delete(conn, shop, pipeline=stage.pipeline, now_ms=NOW_MS)
    assert change(stage, made.id, name="renamed").target_ids == (shop,)
    with pytest.raises(Invalid, match=f"no target {shop + 1}"):
        change(stage, made.id, target_ids=[shop, shop + 1])


def test_a_target_is_not_taken_for_the_machine_of_its_number(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    with pytest.raises(Invalid, match=f"no machine {shop}"):
        create(stage, machine_ids=[shop], channel_ids=[hook])
    web = stage.machine("web-1")
    assert web == shop
    made = create(stage, machine_ids=[web], channel_ids=[hook])
    with stage.store.write() as conn:
        machines.delete(conn, web, NOW_MS)
    assert change(stage, made.id, name="renamed").machine_ids == (web,), (
        "it may be changed though what it names is gone"
    )
    with pytest.raises(Invalid, match=f"no machine {web}"):
        create(stage, name="another", machine_ids=[web], channel_ids=[hook])


def test_the_default_rule_tells_everyone_again_when_its_last_channel_goes(stage: Stage) -> None:
    hook = stage.channel("hook")
    change(stage, stage.default_rule_id, channel_ids=[hook])
    with stage.store.write() as conn:
        channels.delete(conn, hook, now_ms=NOW_MS)
    assert get(stage, stage.default_rule_id).channels([1, 2]) == [1, 2]


def test_a_replaced_rule_takes_defaults(stage: Stage) -> None:
    hook = stage.channel("hook")
    made = create(stage, channel_ids=[hook], tags=["prod"], enabled=False)
    with stage.store.write() as conn:
        put = rules.put(conn, made.id, {"name": "again", "channel_ids": [hook]}, now_ms=NOW_MS)
    assert (put.name, put.tags, put.enabled) == ("again", (), True)


def test_a_name_is_taken_once(stage: Stage) -> None:
    hook = stage.channel("hook")
    create(stage, channel_ids=[hook])
    with pytest.raises(Conflict, match="already a rule named rule"):
        create(stage, channel_ids=[hook])
    with pytest.raises(Conflict, match="already a rule named rule"):
        change(stage, stage.default_rule_id, name="rule")


def test_what_is_not_there_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFound, match="There is no rule 77"):
        change(stage, 77, name="x")
    with stage.store.write() as conn:
        with pytest.raises(NotFound):
            rules.delete(conn, 77)
        with pytest.raises(NotFound):
            rules.get(conn, 77)


def test_a_deleted_rule_says_nothing_more(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    change(stage, stage.default_rule_id, enabled=False)
    made = create(stage, channel_ids=[hook])
    stage.down(shop)
    stage.settle()
    with stage.store.write() as conn:
        rules.delete(conn, made.id)
    stage.up(shop)
    stage.settle()
    assert stage.titles(hook) == ["shop is down"]
