"""One process of many is killed, stands still, or has a wrong clock, while hundreds of targets are watched: nothing is
said to be down because of it, no slot is recorded twice, and what it did goes on elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.load import Load
from tests.acceptance.servers import Served, served
from tests.running import ROLES, Process, Split, free_port
from tocsin.core.shards import LEASE_MS

TARGETS = 200
INTERVAL_S = 2
WRONG_CLOCK = Path(__file__).with_name("wrong_clock.py")


@pytest.fixture(scope="module")
def watched() -> Iterator[Served]:
    with served() as service:
        yield service


@pytest.fixture(scope="module")
def load(split: Split, watched: Served) -> Load:
    return Load.begin(split, watched.url, count=TARGETS, interval_s=INTERVAL_S)


class Lives:
    """How many lives workers had so far."""

    count = ROLES["worker"]


def assert_all_run(split: Split, *, but: Process | None = None) -> None:
    assert all(process.is_running() for process in split.processes if process is not but)


def told(receiver: Served, event: str, name: str) -> list[dict[str, Any]]:
    return [
        item
        for body in receiver.bodies
        for item in body["data"]["items"]
        if item["event"] == event and item["target"]["name"] == name
    ]


@pytest.mark.parametrize("role", [role for role in ROLES if role != "alerts"])
def test_killed_and_started_again(split: Split, load: Load, role: str) -> None:
    victim = split.of(role)[-1]
    victim.kill()
    killed_ms = load.now_ms()
    # Nobody starts it again yet: others take its work over.
    load.wait_probed_after(killed_ms + 2 * INTERVAL_S * 1000, "for every target to be probed without it")
    assert split.items("/v1/targets")
    assert_all_run(split, but=victim)

    victim.start()
    victim.wait_ready()
    Lives.count += role == "worker"
    load.wait_probed_after(load.now_ms(), "for every target to be probed with it")
    load.assert_unharmed(lives=Lives.count)


def test_workers_share_again_after_one_was_gone(split: Split, load: Load) -> None:
    def shares() -> list[float]:
        each = [httpx.get(f"{worker.address}/metrics", timeout=30).text for worker in split.of("worker")]
        return [float(text.split("\ntocsin_targets_watched ")[1].split("\n")[0]) for text in each]

    split.wait_until(
        lambda: min(shares()) > TARGETS / 4, what=f"for both workers to have their share, not {shares()}", every_s=0.5
    )


def test_whoever_sends_messages_may_be_killed_at_any_time(
    split: Split, load: Load, service: Served, receiver: Served
) -> None:
    split.post("/v1/channels", {"name": "receiver", "kind": "webhook", "url": receiver.url})
    target = split.post(
        "/v1/targets",
        {"name": "shop", "kind": "http", "url": service.url, "interval_s": 1, "timeout_s": 1, "recheck_s": 1},
    )["id"]

    def verdict() -> object:
        return split.get(f"/v1/targets/{target}")["verdict"]

    def told_after_a_kill(event: str) -> list[dict[str, Any]]:
        (alerts,) = split.of("alerts")
        alerts.kill()
        alerts.start()
        split.wait_until(lambda: told(receiver, event, "shop"), what=f"for the message of {event}")
        return told(receiver, event, "shop")

    split.wait_until(lambda: verdict() == "up", what="for the shop to be up")
    service.stop()
    split.wait_until(lambda: verdict() == "down", what="for the shop to be down")
    assert told_after_a_kill("down")[0]["reason"]
    service.start()
    split.wait_until(lambda: verdict() == "up", what="for the shop to be up again")
    assert told_after_a_kill("recovered")
    assert_all_run(split)
    load.assert_unharmed(lives=Lives.count)


@pytest.mark.slow
def test_a_worker_that_stood_still_past_its_lease_harms_nobody(split: Split, load: Load) -> None:
    """What it had under way when it was stopped ends after it goes on, as a failure: too late, and no longer its own to
    say. The targets here answer slowly, so that there is something under way, and one failure is enough for them."""
    with served(answers_after_s=1.0) as slow:
        names = [f"slow {number}" for number in range(40)]
        ids = {
            int(
                str(
                    split.post(
                        "/v1/targets",
                        {
                            "name": name,
                            "kind": "http",
                            "url": slow.url,
                            "interval_s": INTERVAL_S,
                            "timeout_s": INTERVAL_S,
                            "failures_to_down": 1,
                        },
                    )["id"]
                )
            )
            for name in names
        }
        slowly = Load(split, ids, INTERVAL_S * 1000)
        slowly.wait_probed_after(0, "for every slow target to be probed")
        fenced = split.metrics()["tocsin_results_fenced_total"]

        sleeper = split.of("worker")[0]
        sleeper.suspend()
        try:
            stood_ms = load.now_ms()
            load.wait_probed_after(stood_ms + LEASE_MS, "for others to take over what it held")
            slowly.wait_probed_after(stood_ms + LEASE_MS, "for others to take over what it held")
        finally:
            sleeper.resume()
        went_on_ms = load.now_ms()
        load.wait_probed_after(went_on_ms + LEASE_MS, "for all to go on as before")
        Lives.count += 1
        load.assert_unharmed(lives=Lives.count)
        slowly.assert_unharmed(lives=Lives.count)
        assert split.metrics()["tocsin_results_fenced_total"] > fenced, "it had something to say, and was not heard"
        for target_id in ids:
            split.request("DELETE", f"/v1/targets/{target_id}")


@pytest.mark.parametrize("ahead_s", [300, -300], ids=["ahead", "behind"])
def test_a_worker_whose_clock_is_five_minutes_off(split: Split, load: Load, ahead_s: int) -> None:
    """It joins the others, gets its share, and goes by the installation's clock: its checks lie in the same slots."""
    astray = split.make(
        "worker", f"astray{ahead_s}", port=free_port(), tocsin=(sys.executable, str(WRONG_CLOCK), str(ahead_s))
    )
    astray.start()
    try:
        astray.wait_ready()
        Lives.count += 1

        def share() -> float:
            text = httpx.get(f"{astray.address}/metrics", timeout=30).text
            return float(text.split("\ntocsin_targets_watched ")[1].split("\n")[0])

        split.wait_until(lambda: share() > TARGETS / 5, what="for it to get its share")
        shared_ms = load.now_ms()
        load.wait_probed_after(shared_ms + INTERVAL_S * 1000, "for every target to be probed")
        time.sleep(3 * INTERVAL_S)
        load.wait_nothing_waits()
        seen = [
            worker
            for location in split.items("/v1/locations")
            for worker in location["workers"]  # type: ignore[attr-defined]
            if abs(worker["clock_off_ms"]) > 1000
        ]
        assert [round(worker["clock_off_ms"], -4) for worker in seen] == [ahead_s * 1000], "and people can see it"
        load.assert_no_gap(shared_ms, load.now_ms() - 2 * INTERVAL_S * 1000)
        assert not load.checks_outside(load.began_ms - 60_000, load.now_ms() + 1000)
    finally:
        assert astray.stop(within_s=30) == 0
    load.wait_probed_after(load.now_ms(), "for the others to go on")
    load.assert_unharmed(lives=Lives.count)
