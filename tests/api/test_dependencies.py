"""What a target depends on, over REST: and because of what it is down."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import HTTP_TARGET, NOW_MS, Client, fields_of, make_target
from tests.api.test_history import seen
from tests.clocks import FakeClock
from tocsin.core.outcome import Result
from tocsin.pipeline import Pipeline


@pytest.fixture
async def house(member: Client) -> dict[str, int]:
    """A gateway, a switch behind it, two shops behind that; and one that depends on nothing."""
    gateway = (await make_target(member, name="gateway"))["id"]
    switch = (await make_target(member, name="switch", depends_on=[gateway]))["id"]
    shops = [(await make_target(member, name=f"shop {number}", depends_on=[switch]))["id"] for number in (1, 2)]
    alone = (await make_target(member, name="alone"))["id"]
    return {"gateway": gateway, "switch": switch, "shop 1": shops[0], "shop 2": shops[1], "alone": alone}


async def test_parents_are_kept_as_given(member: Client, house: dict[str, int]) -> None:
    path = f"/v1/targets/{house['shop 1']}"
    both = [house["gateway"], house["switch"]]
    assert (await member.patch(path, json={"depends_on": [*reversed(both), both[0]]})).json()["depends_on"] == both
    assert (await member.patch(path, json={"interval_s": 30})).json()["depends_on"] == both
    assert (await member.post(f"{path}/clone")).json()["depends_on"] == both
    assert (await member.put(path, json=HTTP_TARGET)).json()["depends_on"] == []
    job = {"name": "backup", "kind": "heartbeat", "period_s": 60, "depends_on": [house["gateway"]]}
    assert (await member.post("/v1/targets", json=job)).json()["depends_on"] == [house["gateway"]]


async def test_what_cannot_be_is_refused_by_name(member: Client, house: dict[str, int]) -> None:
    gateway, switch = house["gateway"], house["switch"]
    for target_id, depends_on, wrong in (
        (switch, [gateway, 999], "depends_on.1"),
        (switch, [gateway, switch], "depends_on.1"),
        (gateway, [house["alone"], house["shop 1"]], "depends_on.1"),
        (gateway, [switch], "depends_on.0"),
    ):
        answer = await member.patch(f"/v1/targets/{target_id}", json={"depends_on": depends_on})
        assert (answer.status_code, fields_of(answer)) == (422, [wrong])
    assert (await member.get(f"/v1/targets/{gateway}")).json()["depends_on"] == []


async def test_a_deleted_parent_is_nobodys(member: Client, house: dict[str, int]) -> None:
    await member.delete(f"/v1/targets/{house['switch']}")
    assert (await member.get(f"/v1/targets/{house['shop 1']}")).json()["depends_on"] == []
    answer = await member.patch(f"/v1/targets/{house['shop 1']}", json={"depends_on": [house["switch"]]})
    assert fields_of(answer) == ["depends_on.0"]


async def test_because_of_what_it_is_down(
    member: Client, outsider: Client, house: dict[str, int], pipeline: Pipeline, clock: FakeClock
) -> None:
    down = [house[name] for name in ("gateway", "switch", "shop 1", "alone")]
    pipeline.write([seen(house["shop 2"], NOW_MS, Result.PASSED), *(seen(one, NOW_MS, Result.FAILED) for one in down)])
    clock.tick(60)
    gateway = {"id": house["gateway"], "name": "gateway"}
    expected = {"gateway": None, "switch": gateway, "shop 1": gateway, "shop 2": None, "alone": None}

    listed: list[dict[str, Any]] = (await outsider.get("/v1/targets")).json()["items"]
    assert {one["name"]: one["because_of"] for one in listed} == expected
    one = (await outsider.get(f"/v1/targets/{house['shop 1']}")).json()
    assert (one["verdict"], one["because_of"]) == ("down", gateway)
    because = (await outsider.get(f"/v1/targets?because_of={house['gateway']}")).json()["items"]
    assert [one["name"] for one in because] == ["shop 1", "switch"]
    assert (await outsider.get(f"/v1/targets?because_of={house['switch']}")).json()["items"] == []

    overview = (await outsider.get("/v1/overview")).json()
    assert (overview["counts"]["down"], overview["counts"]["down_because_of"]) == (4, 2)
    assert {one["name"]: one["because_of"] for one in overview["worst"]} == {
        name: cause for name, cause in expected.items() if name != "shop 2"
    }
    assert {one["target"]["name"]: one["because_of"] for one in overview["timeline"]} == {
        "gateway": None,
        "switch": gateway,
        "shop 1": gateway,
        "alone": None,
    }

    pipeline.write([seen(house[name], clock.now_ms(), Result.PASSED) for name in ("gateway", "shop 1")])
    timeline = (await outsider.get("/v1/timeline")).json()["items"]
    assert {one["because_of"] and one["because_of"]["name"] for one in timeline} == {None}, "it is over"
    assert (await outsider.get("/v1/overview")).json()["counts"]["down_because_of"] == 0


async def test_a_paused_parent_explains_nothing(
    member: Client, house: dict[str, int], pipeline: Pipeline, clock: FakeClock
) -> None:
    pipeline.write([seen(house[name], NOW_MS, Result.FAILED) for name in ("gateway", "switch")])
    clock.tick(60)
    await member.post(f"/v1/targets/{house['gateway']}/pause")
    assert (await member.get(f"/v1/targets/{house['switch']}")).json()["because_of"] is None
