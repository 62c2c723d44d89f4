"""What was seen of a target: checks, evidence, changes, uptime, latency; and how all of them stand together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import NOW_MS, Client, fields_of, make_target
from tests.api.test_targets import walk
from tests.clocks import FakeClock
from tests.contract.rows import add_machine
from tocsin.core.bands import MEMORY, REPORTING
from tocsin.core.decide import Policy, Transition, Verdict
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import machines, transitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store

MINUTE_MS = 60_000
EVIDENCE = {
    "result": "failed",
    "ok": False,
    "latency_ms": 3.0,
    "phases": {"dns_ms": None, "connect_ms": 1.0, "tls_ms": None, "first_byte_ms": 2.0, "transfer_ms": None},
    "address": "127.0.0.1",
    "error": "status == 200 is false: status is 503",
    "network_fault": False,
    "assertions": [{"source": "status == 200", "ok": False, "error": None, "values": {"status": 503}}],
    "certificates": [],
    "details": {"status": 503, "body": "<h1>no</h1>"},
}


def seen(target_id: int, at_ms: int, result: Result, *, latency_us: int | None = 20_000) -> Entry:
    """One check as a worker writes it; a failure keeps its evidence."""
    failed = result is Result.FAILED
    reason = "status == 200 is false: status is 503" if failed else ""
    return Entry(
        Outcome(StateKey(Subject(TARGET, target_id), REACHABLE, 1), at_ms, result, latency_us, reason, None),
        Policy(failures_to_down=1),
        CheckRow(at_ms, target_id, latency_us, 1000, 2000, None, 3000, 4000, 1, result, reason or None),
        EVIDENCE if failed else None,
    )


@pytest.fixture
async def target(member: Client, pipeline: Pipeline, clock: FakeClock) -> dict[str, Any]:
    """Ten minutes: up for four, down for two, up again, with one check that measured nothing at the end."""
    made = await make_target(member)
    results = [Result.PASSED] * 4 + [Result.FAILED] * 2 + [Result.PASSED] * 3 + [Result.UNMEASURED]
    pipeline.write(
        [
            seen(made["id"], NOW_MS + number * MINUTE_MS, result, latency_us=(number + 1) * 10_000)
            for number, result in enumerate(results)
        ]
    )
    clock.tick(600)
    return made


async def test_checks_newest_first(outsider: Client, target: dict[str, Any]) -> None:
    checks = (await outsider.get(f"/v1/targets/{target['id']}/checks")).json()["items"]
    assert len(checks) == 10
    assert [check["ok"] for check in checks[:6]] == [None, True, True, True, False, False]
    assert checks[4] == {
        "at": "2027-01-15T08:05:00.000Z",
        "ok": False,
        "result": "failed",
        "latency_ms": 60.0,
        "phases": {"dns_ms": 1.0, "connect_ms": 2.0, "tls_ms": None, "first_byte_ms": 3.0, "transfer_ms": 4.0},
        "location": "local",
        "error": "status == 200 is false: status is 503",
        "has_evidence": True,
    }
    assert [check["has_evidence"] for check in checks].count(True) == 2


async def test_checks_page_by_page_and_narrowed(outsider: Client, target: dict[str, Any]) -> None:
    path = f"/v1/targets/{target['id']}/checks"
    whole = (await outsider.get(path)).json()["items"]
    assert await walk(outsider, path, limit=3) == whole
    assert [check["ok"] for check in await walk(outsider, path, ok="false", limit=1)] == [False, False]
    assert len(await walk(outsider, path, ok="true")) == 7
    some = await walk(outsider, path, **{"from": "2027-01-15T08:02:00Z", "to": "2027-01-15T09:04:00+01:00"})
    assert [check["at"] for check in some] == ["2027-01-15T08:03:00.000Z", "2027-01-15T08:02:00.000Z"]


async def test_changes_of_a_window_and_what_stood_when_it_began(outsider: Client, target: dict[str, Any]) -> None:
    path = f"/v1/targets/{target['id']}/transitions"
    window = {"from": "2027-01-15T08:05:30Z", "to": "2027-01-15T08:06:30Z"}
    assert [change["to"] for change in await walk(outsider, path, **window)] == ["up"]
    assert [change["to"] for change in await walk(outsider, path, lasting="true", limit=1, **window)] == ["up", "down"]
    later = {"from": "2027-01-15T08:07:00Z", "to": "2027-01-15T08:08:00Z"}
    assert await walk(outsider, path, **later) == []
    assert [change["to"] for change in await walk(outsider, path, lasting="true", **later)] == ["up"]


async def test_pages_of_checks_stay_put_while_new_ones_come(
    outsider: Client, target: dict[str, Any], pipeline: Pipeline, clock: FakeClock
) -> None:
    path = f"/v1/targets/{target['id']}/checks"
    whole = (await outsider.get(path)).json()["items"]
    first = (await outsider.get(path, params={"limit": 4})).json()
    pipeline.write([seen(target["id"], clock.now_ms() + MINUTE_MS, Result.PASSED)])
    rest = (await outsider.get(path, params={"cursor": first["next"]})).json()
    assert first["items"] + rest["items"] == whole


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2027-01-15T08:00:00"}, "from"),
        ({"to": "2027-13-15T08:00:00Z"}, "to"),
        ({"to": "0001-01-01T00:00:00Z"}, "to"),
        ({"from": "2027-01-15T08:00:00Z", "to": "2027-01-15T07:00:00Z"}, "from"),
        ({"limit": "1001"}, "limit"),
        ({"cursor": "WzEsMl0x"}, "cursor"),
        ({"cursor": "WyJhIiwyXQ"}, "cursor"),
        ({"ok": "perhaps"}, "ok"),
    ],
)
async def test_wrong_parameters_are_refused_by_name(
    outsider: Client, target: dict[str, Any], params: dict[str, str], wrong: str
) -> None:
    answer = await outsider.get(f"/v1/targets/{target['id']}/checks", params=params)
    assert answer.status_code == 400
    assert fields_of(answer) == [wrong]


async def test_the_evidence_of_a_failure(outsider: Client, target: dict[str, Any]) -> None:
    at_ms = NOW_MS + 4 * MINUTE_MS
    path = f"/v1/targets/{target['id']}/checks/{at_ms}/evidence"
    answer = await outsider.get(path)
    assert answer.status_code == 200
    assert answer.json() == EVIDENCE | {"at": "2027-01-15T08:04:00.000Z", "location": "local"}
    assert (await outsider.get(path, params={"location": "local"})).status_code == 200
    assert (await outsider.get(path, params={"location": "mars"})).status_code == 404
    passed = await outsider.get(f"/v1/targets/{target['id']}/checks/{NOW_MS}/evidence")
    assert passed.status_code == 404
    fields_of(passed)


async def test_transitions_with_their_ends(outsider: Client, target: dict[str, Any]) -> None:
    path = f"/v1/targets/{target['id']}/transitions"
    changes = (await outsider.get(path)).json()["items"]
    assert [(change["from"], change["to"]) for change in changes] == [
        ("up", "unknown"),
        ("down", "up"),
        ("up", "down"),
        ("unknown", "up"),
    ]
    down = changes[2]
    assert down | {"id": 0} == {
        "id": 0,
        "rule": "reachable",
        "from": "up",
        "to": "down",
        "at": "2027-01-15T08:04:00.000Z",
        "ended_at": "2027-01-15T08:06:00.000Z",
        "duration_s": 120.0,
        "reason": "status == 200 is false: status is 503",
        "location": "local",
        "check_at": "2027-01-15T08:04:00.000Z",
        "has_evidence": True,
    }
    assert (changes[0]["ended_at"], changes[0]["duration_s"]) == (None, 60.0)
    assert await walk(outsider, path, limit=1) == changes


async def test_uptime_is_weighted_by_time_and_leaves_out_what_is_unknown(
    outsider: Client, target: dict[str, Any]
) -> None:
    windows = (await outsider.get(f"/v1/targets/{target['id']}/summary")).json()["windows"]
    assert list(windows) == ["24h", "7d", "30d", "90d", "365d"]
    day = windows["24h"]
    assert (day["up_s"], day["down_s"], day["degraded_s"], day["maintenance_s"]) == (420, 120, 0, 0)
    assert day["unknown_s"] == 86_400 - 540
    assert day["uptime"] == pytest.approx(420 / 540)
    assert day["outages"] == 1
    assert day["counts"] == {"passed": 7, "warned": 0, "failed": 2, "unmeasured": 1}
    assert (day["checks"], day["failed"]) == (10, 2)
    assert day["p50_ms"] == pytest.approx(40, rel=0.02)


async def test_nothing_seen_is_no_data(outsider: Client, member: Client) -> None:
    made = await make_target(member)
    windows = (await outsider.get(f"/v1/targets/{made['id']}/summary")).json()["windows"]
    for window in windows.values():
        assert (window["uptime"], window["p95_ms"], window["checks"]) == (None, None, 0)
    assert (await outsider.get(f"/v1/targets/{made['id']}/latency")).json()["points"] == []


async def test_latency_over_time_has_gaps_where_nothing_was_checked(outsider: Client, target: dict[str, Any]) -> None:
    path = f"/v1/targets/{target['id']}/latency"
    answer = await outsider.get(
        path, params={"from": "2027-01-15T07:50:00Z", "to": "2027-01-15T08:10:00Z", "step": "60"}
    )
    chart = answer.json()
    assert chart["step_s"] == 60
    assert [point["at"][11:16] for point in chart["points"]] == [f"08:{minute:02}" for minute in range(10)]
    first, failed = chart["points"][0], chart["points"][4]
    assert (first["checks"], first["failed"], first["min_ms"], first["avg_ms"]) == (1, 0, 10, 10)
    assert first["phases"] == {"dns_ms": 1, "connect_ms": 2, "tls_ms": None, "first_byte_ms": 3, "transfer_ms": 4}
    assert (failed["checks"], failed["failed"], failed["p50_ms"]) == (1, 1, None)
    again = await outsider.get(
        path,
        params={"from": "2027-01-15T07:50:00Z", "to": "2027-01-15T08:10:00Z", "step": "60"},
        headers={"If-None-Match": answer.headers["etag"]},
    )
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"step": "0"}, "step"),
        ({"step": "nan"}, "step"),
        ({"step": "inf"}, "step"),
        ({"step": "-3"}, "step"),
        ({"from": "2027-01-15T08:00:00Z", "to": "2027-01-15T08:00:00Z"}, "from"),
        ({"from": "2030-01-15T08:00:00Z"}, "from"),
    ],
)
async def test_a_chart_of_nothing_is_refused(
    outsider: Client, target: dict[str, Any], params: dict[str, str], wrong: str
) -> None:
    answer = await outsider.get(f"/v1/targets/{target['id']}/latency", params=params)
    assert answer.status_code == 400
    assert fields_of(answer) == [wrong]


async def test_a_chart_never_has_more_than_500_points(outsider: Client, target: dict[str, Any]) -> None:
    answer = await outsider.get(
        f"/v1/targets/{target['id']}/latency", params={"from": "2026-01-15T08:00:00Z", "step": "1"}
    )
    assert answer.json()["step_s"] >= 365 * 86_400 / 500


async def test_the_list_shows_the_last_day(outsider: Client, target: dict[str, Any]) -> None:
    (listed,) = (await outsider.get("/v1/targets?expand=summary")).json()["items"]
    summary = listed["summary"]
    assert summary["uptime_24h"] == pytest.approx(420 / 540)
    assert (summary["checks_24h"], summary["failed_24h"]) == (10, 2)
    assert summary["bar"][-1] == {"start": "2027-01-15T08:00:00.000Z", "verdict": "down", "checks": 10, "failed": 2}
    assert listed["last_check_at"] == "2027-01-15T08:09:00.000Z"


async def test_a_certificate_has_its_own_changes(
    outsider: Client, target: dict[str, Any], pipeline: Pipeline, clock: FakeClock
) -> None:
    key = StateKey(Subject(TARGET, target["id"]), CERTIFICATE, 1)
    warning = Outcome(key, clock.now_ms(), Result.WARNED, None, "the certificate expires on 2027-01-20", None)
    pipeline.write([Entry(warning, Policy(warnings_to_degraded=1))])
    newest = (await outsider.get(f"/v1/targets/{target['id']}/transitions?limit=1")).json()["items"][0]
    assert (newest["rule"], newest["to"]) == ("certificate", "degraded")
    assert (await outsider.get(f"/v1/targets/{target['id']}")).json()["verdict"] == "unknown"


# ── all of them ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_overview(
    outsider: Client, member: Client, target: dict[str, Any], pipeline: Pipeline, clock: FakeClock
) -> None:
    down = await make_target(member, name="checkout", interval_s=30)
    beat = await member.post("/v1/targets", json={"name": "backup", "kind": "heartbeat", "period_s": 3600})
    paused = await make_target(member, name="old", enabled=False)
    pipeline.write([seen(down["id"], clock.now_ms(), Result.FAILED, latency_us=None)])
    overview = (await outsider.get("/v1/overview")).json()
    assert overview["counts"] == {
        "up": 0,
        "degraded": 0,
        "down": 1,
        "down_because_of": 0,
        "unknown": 2,
        "paused": 1,
    }
    assert [one["name"] for one in overview["worst"]] == ["checkout", "shop", "backup"]
    assert paused["id"] not in [one["id"] for one in overview["worst"]]
    assert beat.json()["id"] in [one["id"] for one in overview["worst"]]
    assert overview["worst"][0] == {
        "id": down["id"],
        "name": "checkout",
        "kind": "http",
        "verdict": "down",
        "since": "2027-01-15T08:10:00.000Z",
        "reason": "status == 200 is false: status is 503",
        "because_of": None,
        "last_latency_ms": None,
    }
    assert overview["timeline"][0]["target"] == {"id": down["id"], "name": "checkout"}
    turns = [(change["target"]["name"], change["from"], change["to"]) for change in overview["timeline"]]
    assert ("checkout", "unknown", "down") in turns
    assert ("shop", "down", "up") in turns
    assert ("shop", "unknown", "up") not in turns
    assert overview["uptime_30d"] == pytest.approx(420 / 540)
    assert overview["measured_s_30d"] == 540
    assert overview["checks_per_minute"] == 3
    assert overview["started_at"] == "2027-01-15T08:00:00.000Z"


async def test_the_timeline_is_everybodys(
    outsider: Client, member: Client, target: dict[str, Any], pipeline: Pipeline, clock: FakeClock
) -> None:
    other = await make_target(member, name="other")
    pipeline.write([seen(other["id"], clock.now_ms(), Result.FAILED)])
    whole = (await outsider.get("/v1/timeline")).json()["items"]
    assert [change["target"]["name"] for change in whole] == ["other", "shop", "shop", "shop", "shop"]
    assert await walk(outsider, "/v1/timeline", limit=2) == whole
    some = await walk(outsider, "/v1/timeline", to="2027-01-15T08:05:00Z")
    assert some == whole[3:]


def silent(machine_id: int, at_ms: int, result: Result, rule: str = REPORTING) -> Entry:
    key = StateKey(Subject(MACHINE, machine_id), rule, HEADLINE)
    reason = "no sample for 15 s" if result is Result.FAILED else ""
    return Entry(Outcome(key, at_ms, result, None, reason, None), Policy(1, 1, 1))


async def test_machines_are_on_the_timeline_and_in_the_overview_beside_targets(
    outsider: Client, target: dict[str, Any], store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    with store.write() as conn:
        web = add_machine(conn, "web-1")
    assert web == target["id"], "this is about a machine with the number of a target"
    now_ms = clock.now_ms()
    pipeline.write([silent(web, now_ms, Result.FAILED), silent(web, now_ms, Result.FAILED, REACHABLE)])
    clock.tick(60)
    for path in ("/v1/timeline", "/v1/overview"):
        document = (await outsider.get(path)).json()
        entries = document["items"] if path == "/v1/timeline" else document["timeline"]
        as_machine = [one for one in entries if one["machine"] is not None]
        assert {one["rule"] for one in as_machine} == {REPORTING, REACHABLE}
        assert all(one["machine"] == {"id": web, "name": "web-1"} and one["target"] is None for one in as_machine)
        silence = next(one for one in as_machine if one["rule"] == REPORTING)
        assert {name: silence[name] for name in ("from", "to", "reason", "duration_s", "location", "because_of")} == {
            "from": "unknown",
            "to": "down",
            "reason": "no sample for 15 s",
            "duration_s": 60.0,
            "location": None,
            "because_of": None,
        }
        of_target = [one for one in entries if one["target"] is not None]
        assert {one["target"]["name"] for one in of_target} == {"shop"}
        assert {one["machine"] for one in of_target} == {None}


async def test_the_overview_names_the_machines_that_are_not_well(
    outsider: Client, store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    with store.write() as conn:
        well, silent_one, full = (add_machine(conn, name) for name in ("a", "b", "c"))
    now_ms = clock.now_ms()
    pipeline.write([silent(well, now_ms, Result.PASSED)])
    pipeline.write([silent(full, now_ms, Result.WARNED, MEMORY)])
    clock.tick(60)
    pipeline.write([silent(silent_one, clock.now_ms(), Result.FAILED)])
    overview = (await outsider.get("/v1/overview")).json()
    assert overview["machines"] == {"up": 1, "degraded": 1, "down": 1, "unknown": 0}
    assert [(one["name"], one["verdict"], one["reason"]) for one in overview["worst_machines"]] == [
        ("b", "down", "no sample for 15 s"),
        ("c", "degraded", ""),
    ]
    assert overview["worst_machines"][0]["since"] == "2027-01-15T08:01:00.000Z"
    assert overview["aggregator"] is None, "nothing was said of a port"


async def test_a_machine_is_not_down_because_of_what_the_target_of_its_number_depends_on(
    outsider: Client, member: Client, store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    switch = await make_target(member, name="switch")
    shop = await make_target(member, name="shop", depends_on=[switch["id"]])
    now_ms = clock.now_ms()
    with store.write() as conn:
        add_machine(conn, "other")
        assert add_machine(conn, "web-1") == shop["id"]
    pipeline.write([seen(one["id"], now_ms, Result.FAILED) for one in (switch, shop)])
    pipeline.write([silent(shop["id"], now_ms, Result.FAILED, REACHABLE)])
    entries = (await outsider.get("/v1/timeline")).json()["items"]
    causes = {(one["target"] or one["machine"])["name"]: one["because_of"] for one in entries}
    assert causes["shop"] == {"id": switch["id"], "name": "switch"}
    assert causes["web-1"] is None


async def test_the_evidence_of_a_check_is_not_taken_for_a_machines(
    outsider: Client, target: dict[str, Any], store: Store
) -> None:
    items = (await outsider.get("/v1/timeline")).json()["items"]
    (failed,) = [one for one in items if one["to"] == "down"]
    assert failed["has_evidence"]
    at_ms = NOW_MS + 4 * MINUTE_MS
    key = StateKey(Subject(MACHINE, target["id"]), REPORTING, HEADLINE)
    with store.write() as conn:
        add_machine(conn, "web-1")
        change = Transition(key, Verdict.UP, Verdict.DOWN, at_ms, at_ms, "", check_location_id=1)
        transitions.insert_many(conn, [change], at_ms)
    items = (await outsider.get("/v1/timeline")).json()["items"]
    assert {one["has_evidence"] for one in items if one["machine"]} == {False}


async def test_a_deleted_machine_is_history_and_no_news(
    outsider: Client, store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    with store.write() as conn:
        web = add_machine(conn, "web-1")
    pipeline.write([silent(web, clock.now_ms(), Result.FAILED)])
    with store.write() as conn:
        machines.delete(conn, web, clock.now_ms())
    assert (await outsider.get("/v1/overview")).json()["timeline"] == []
    (entry,) = (await outsider.get("/v1/timeline")).json()["items"]
    assert entry["machine"] == {"id": web, "name": "web-1"}


# ── uptime of many ────────────────────────────────────────────────────────────────────────────────────


async def test_uptime_of_all_of_them_at_once(outsider: Client, member: Client, target: dict[str, Any]) -> None:
    new = await make_target(member, name="new", tags=["fresh"])
    gone = await make_target(member, name="gone")
    await member.delete(f"/v1/targets/{gone['id']}")
    answer = await outsider.get("/v1/uptime?windows=24h,7d")
    ratio = pytest.approx(420 / 540)
    assert answer.json() == {
        "items": [
            {"id": target["id"], "uptime": {"24h": ratio, "7d": ratio}},
            {"id": new["id"], "uptime": {"24h": None, "7d": None}},
        ],
        "next": None,
    }
    again = await outsider.get("/v1/uptime?windows=24h,7d", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304

    async def asked(**params: str) -> list[int]:
        items = (await outsider.get("/v1/uptime", params=params)).json()["items"]
        assert all(list(item["uptime"]) == ["24h", "7d", "30d", "90d"] for item in items)
        return [item["id"] for item in items]

    assert await asked() == [target["id"], new["id"]]
    assert await asked(ids=f"{new['id']},{gone['id']},999") == [new["id"]]
    assert await asked(tag="fresh") == [new["id"]]
    assert await asked(tag="fresh", ids=str(target["id"])) == []
    summary = (await outsider.get(f"/v1/targets/{target['id']}/summary")).json()["windows"]
    (whole,) = (await outsider.get(f"/v1/uptime?ids={target['id']}&windows=365d,30d")).json()["items"]
    assert whole["uptime"] == {name: summary[name]["uptime"] for name in ("365d", "30d")}


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"windows": "1h"}, "windows"),
        ({"windows": ""}, "windows"),
        ({"windows": "24h,"}, "windows"),
        ({"ids": ""}, "ids"),
        ({"ids": "1;2"}, "ids"),
        ({"ids": "9" * 17}, "ids"),
        ({"ids": "-1"}, "ids"),
        ({"tag": "a\x00b"}, "tag"),
    ],
)
async def test_uptime_of_nothing_known_is_refused(outsider: Client, params: dict[str, str], wrong: str) -> None:
    answer = await outsider.get("/v1/uptime", params=params)
    assert (answer.status_code, fields_of(answer)) == (400, [wrong])
