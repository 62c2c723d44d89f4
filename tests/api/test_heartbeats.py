"""Jobs that call in, as Healthchecks' clients do it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.conftest import NOW_MS, Client, fields_of
from tests.clocks import FakeClock
from tocsin.core.outcome import HEADLINE, REACHABLE, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.store import states
from tocsin.store.engine import Store

RID = "5f0dd5c1-2b5e-4c3e-9d0b-6b4c7f1e0c11"


@pytest.fixture
async def job(member: Client) -> dict[str, Any]:
    answer = await member.post(
        "/v1/targets", json={"name": "backup", "kind": "heartbeat", "period_s": 3600, "grace_s": 300}
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def due_ms(store: Store, target_id: int) -> int | None:
    key = StateKey(Subject(TARGET, target_id), REACHABLE, HEADLINE)
    with store.read() as conn:
        return states.read_many(conn, [key])[key].due_ms


async def verdict(client: Client, job: dict[str, Any]) -> str:
    return str((await client.get(f"/v1/targets/{job['id']}")).json()["verdict"])


async def test_a_call_makes_it_up_and_says_when_the_next_is_due(
    nobody: Client, outsider: Client, job: dict[str, Any], store: Store
) -> None:
    assert job["ping_url"].startswith("http://tocsin.test/ping/")
    assert await verdict(outsider, job) == "unknown"
    for method in ("GET", "HEAD", "POST"):
        answer = await nobody.request(method, job["ping_url"])
        assert answer.status_code == 200
        assert answer.headers["ping-body-limit"] == "10000"
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text == ("" if method == "HEAD" else "OK")
    assert await verdict(outsider, job) == "up"
    assert due_ms(store, job["id"]) == NOW_MS + 3_900_000
    pings = (await outsider.get(f"/v1/targets/{job['id']}/pings")).json()["items"]
    assert [ping["kind"] for ping in pings] == ["success"] * 3
    assert len((await outsider.get(f"/v1/targets/{job['id']}/checks")).json()["items"]) == 3


async def test_a_run_is_timed(nobody: Client, outsider: Client, job: dict[str, Any], clock: FakeClock) -> None:
    url = job["ping_url"]
    await nobody.get(f"{url}/start", params={"rid": RID})
    clock.tick(42.5)
    await nobody.get(url, params={"rid": RID.upper()})
    pings = (await outsider.get(f"/v1/targets/{job['id']}/pings")).json()["items"]
    assert [(ping["kind"], ping["duration_ms"], ping["run_id"]) for ping in pings] == [
        ("success", 42_500, RID),
        ("start", None, RID),
    ]
    assert (await outsider.get(f"/v1/targets/{job['id']}")).json()["last_latency_ms"] == 42_500


async def test_a_start_must_be_followed_within_the_grace(
    nobody: Client, job: dict[str, Any], clock: FakeClock, store: Store
) -> None:
    await nobody.get(job["ping_url"])
    clock.tick(60)
    await nobody.get(f"{job['ping_url']}/start")
    assert due_ms(store, job["id"]) == NOW_MS + 60_000 + 300_000


async def test_a_failure_is_down_at_once_and_keeps_what_it_said(
    nobody: Client, outsider: Client, job: dict[str, Any], clock: FakeClock
) -> None:
    await nobody.get(job["ping_url"])
    clock.tick(1)
    answer = await nobody.post(f"{job['ping_url']}/3", content=b"disk full \xff", headers={"User-Agent": "curl/8"})
    assert answer.status_code == 200
    shown = (await outsider.get(f"/v1/targets/{job['id']}")).json()
    assert (shown["verdict"], shown["reason"]) == ("down", "the job ended with exit code 3")
    ping = (await outsider.get(f"/v1/targets/{job['id']}/pings?limit=1")).json()["items"][0]
    assert (ping["kind"], ping["exit_code"], ping["body"], ping["user_agent"]) == (
        "fail",
        3,
        "disk full \ufffd",
        "curl/8",
    )
    evidence = await outsider.get(f"/v1/targets/{job['id']}/checks/{clock.now_ms()}/evidence")
    assert evidence.json()["details"]["body"] == "disk full \ufffd"
    clock.tick(1)
    await nobody.get(f"{job['ping_url']}/0")
    assert await verdict(outsider, job) == "up"
    clock.tick(1)
    await nobody.get(f"{job['ping_url']}/fail")
    assert await verdict(outsider, job) == "down"


async def test_a_log_is_only_kept(nobody: Client, outsider: Client, job: dict[str, Any], store: Store) -> None:
    await nobody.post(f"{job['ping_url']}/log", content=b"halfway")
    assert await verdict(outsider, job) == "unknown"
    assert due_ms(store, job["id"]) is None
    (ping,) = (await outsider.get(f"/v1/targets/{job['id']}/pings")).json()["items"]
    assert (ping["kind"], ping["body"]) == ("log", "halfway")


async def test_a_call_after_silence_shows_the_outage(
    nobody: Client, outsider: Client, job: dict[str, Any], clock: FakeClock
) -> None:
    await nobody.get(job["ping_url"])
    clock.tick(7200)
    await nobody.get(job["ping_url"])
    changes = (await outsider.get(f"/v1/targets/{job['id']}/transitions")).json()["items"]
    assert [(change["to"], change["at"][11:19]) for change in changes] == [
        ("up", "10:00:00"),
        ("down", "09:05:00"),
        ("up", "08:00:00"),
    ]
    assert changes[1]["reason"] == "no call in time; expected every hour, with 5 minutes of grace"


async def test_a_start_after_silence_was_recorded_waits_for_its_own_run(
    nobody: Client, job: dict[str, Any], clock: FakeClock, store: Store
) -> None:
    await nobody.get(f"{job['ping_url']}/fail")
    with store.write() as conn:
        key = StateKey(Subject(TARGET, job["id"]), REACHABLE, HEADLINE)
        state = states.read_many(conn, [key])[key]
        # As the sweep leaves it: silence written, nothing due any more.
        states.write_many(conn, [(key, state._replace(last_at_ms=NOW_MS + 3_900_000, due_ms=None))])
    clock.tick(4000)
    await nobody.get(f"{job['ping_url']}/start")
    assert due_ms(store, job["id"]) == clock.now_ms() + 300_000


async def test_a_paused_heartbeat_keeps_the_call_and_stays_paused(
    nobody: Client, member: Client, job: dict[str, Any], store: Store
) -> None:
    await nobody.get(job["ping_url"])
    await member.post(f"/v1/targets/{job['id']}/pause")
    assert due_ms(store, job["id"]) is None
    assert (await nobody.get(f"{job['ping_url']}/fail")).status_code == 200
    shown = (await member.get(f"/v1/targets/{job['id']}")).json()
    assert (shown["paused"], shown["verdict"]) == (True, "unknown")
    assert len((await member.get(f"/v1/targets/{job['id']}/pings")).json()["items"]) == 2


async def test_a_long_body_is_cut_off_not_refused(nobody: Client, outsider: Client, job: dict[str, Any]) -> None:
    answer = await nobody.post(job["ping_url"], content=b"x" * 3_000_000)
    assert answer.status_code == 200
    (ping,) = (await outsider.get(f"/v1/targets/{job['id']}/pings")).json()["items"]
    assert ping["body"] == "x" * 10_000


@pytest.mark.parametrize(
    ("suffix", "status", "wrong"),
    [
        ("/256", 400, ["signal"]),
        ("/99999999999999999999", 400, ["signal"]),
        ("?rid=nonsense", 400, ["rid"]),
        ("/start?rid=", 400, ["rid"]),
        ("/-1", 404, []),
        ("/stop", 404, []),
        ("/٣", 404, []),
    ],
)
async def test_a_wrong_call_is_refused_and_not_kept(
    nobody: Client, outsider: Client, job: dict[str, Any], suffix: str, status: int, wrong: list[str]
) -> None:
    answer = await nobody.get(job["ping_url"] + suffix)
    assert answer.status_code == status
    assert fields_of(answer) == wrong
    assert (await outsider.get(f"/v1/targets/{job['id']}/pings")).json()["items"] == []


@pytest.mark.parametrize("token", [str(uuid.UUID(int=7)), "nonsense", "%00", "x" * 60])
async def test_an_unknown_address_is_not_found(nobody: Client, token: str) -> None:
    assert (await nobody.get(f"/ping/{token}")).status_code == 404


async def test_only_a_heartbeat_has_an_address(nobody: Client, member: Client, job: dict[str, Any]) -> None:
    copy = (await member.post(f"/v1/targets/{job['id']}/clone")).json()
    assert copy["ping_url"] not in (None, job["ping_url"])
    await member.delete(f"/v1/targets/{job['id']}")
    assert (await nobody.get(job["ping_url"])).status_code == 404
    assert (await nobody.get(copy["ping_url"])).status_code == 200


async def test_a_wild_loop_is_told_to_wait(nobody: Client, job: dict[str, Any], clock: FakeClock) -> None:
    answers = [(await nobody.get(f"{job['ping_url']}/log")).status_code for _ in range(61)]
    assert answers == [200] * 60 + [429]
    clock.tick(1)
    assert (await nobody.get(job["ping_url"])).status_code == 200


async def test_nobody_probes_it(member: Client, job: dict[str, Any]) -> None:
    answer = await member.post("/v1/targets/test", json={"id": job["id"]})
    assert answer.status_code == 422
    assert fields_of(answer) == ["kind"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "cron"),
        ({"period_s": 60, "cron": "* * * * *"}, "cron"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"period_s": 60, "tz": "Mars/Olympus"}, "tz"),
        ({"period_s": 0}, "period_s"),
        ({"period_s": 60, "assert": ["status == 200"]}, "assert.0"),
    ],
)
async def test_an_impossible_schedule_is_refused(member: Client, fields: dict[str, Any], wrong: str) -> None:
    answer = await member.post("/v1/targets", json={"name": "x", "kind": "heartbeat"} | fields)
    assert answer.status_code == 422
    assert fields_of(answer) == [wrong]


async def test_guessing_addresses_takes_no_writers_turn(nobody: Client, job: dict[str, Any], store: Store) -> None:
    with store.write():
        answer = await nobody.get(f"/ping/{uuid.uuid4()}")
        assert answer.status_code == 404
        assert (await nobody.get(job["ping_url"])).status_code == 503, "a known one is told to come again"


async def test_what_a_job_says_and_what_a_person_does_comes_from_no_location(
    nobody: Client, member: Client, job: dict[str, Any], clock: FakeClock
) -> None:
    path = f"/v1/targets/{job['id']}"
    await nobody.get(f"{job['ping_url']}/fail")
    clock.tick(60)
    await member.post(f"{path}/pause")
    paused, failed = (await member.get(f"{path}/transitions")).json()["items"]
    assert (paused["to"], paused["location"], paused["has_evidence"]) == ("unknown", None, False)
    assert (failed["to"], failed["location"], failed["has_evidence"]) == ("down", None, True)
    check = (await member.get(f"{path}/checks")).json()["items"][0]
    assert (check["location"], check["has_evidence"]) == (None, True)
    evidence = await member.get(f"{path}/checks/{NOW_MS}/evidence")
    assert (evidence.status_code, evidence.json()["location"]) == (200, None)
