"""The first day of an installation, as its owner sees it: from outside, over what is public."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import Make
from tests.acceptance.servers import Served
from tests.running import PASSWORD, Installation, Split, Tocsin, running, started


def verdict(tocsin: Installation, target_id: object) -> object:
    return tocsin.get(f"/v1/targets/{target_id}")["verdict"]


def told(receiver: Served, event: str, name: str) -> list[dict[str, Any]]:
    """What the receiver was told about one target."""
    return [
        item
        for body in receiver.bodies
        for item in body["data"]["items"]
        if item["event"] == event and item["target"]["name"] == name
    ]


def ms(moment: object) -> float:
    return datetime.fromisoformat(str(moment)).timestamp() * 1000


def passwords(log: str) -> list[str]:
    return re.findall(r"with the password (\S+)", log)


def test_the_first_start_says_where_to_go_and_how_to_get_in(tmp_path: Path) -> None:
    with running(tmp_path, {"TOCSIN_ADMIN_PASSWORD": None}) as tocsin:
        (password,) = tocsin.wait_until(lambda: passwords(tocsin.log.read_text()), what="for the first words")
        assert tocsin.address in tocsin.log.read_text()
        answer = httpx.post(f"{tocsin.address}/v1/session", json={"name": "admin", "password": password}, timeout=30)
        assert answer.status_code == 200
        assert tocsin.stop() == 0
        print(f"ready after {tocsin.ready_s:.2f} s")
    with running(tmp_path, {"TOCSIN_ADMIN_PASSWORD": None}) as again:
        assert len(passwords(again.log.read_text())) == 1, "the password is shown once"


def test_copies_that_start_at_once_agree_on_one_beginning(tmp_path: Path, empty_postgres_url: str) -> None:
    copies = Split(tmp_path, empty_postgres_url, {"TOCSIN_ADMIN_PASSWORD": None}, roles={"api": 2})
    with started(copies) as tocsin:

        def said() -> list[str]:
            return [word for copy in tocsin.processes for word in passwords(copy.log.read_text())]

        (password,) = tocsin.wait_until(said, what="for one of them to say the password")
        for copy in tocsin.processes:
            session = {"name": "admin", "password": password}
            assert httpx.post(f"{copy.address}/v1/session", json=session, timeout=30).status_code == 200
        assert len(tocsin.items("/v1/targets")) == 1
        assert len(tocsin.items("/v1/rules")) == 1
        assert tocsin.rows("SELECT count(*) FROM users") == [(1,)]
        assert len(said()) == 1


def test_the_first_start_shows_life_by_itself(tocsin: Installation) -> None:
    own = tocsin.items("/v1/targets")[0]
    assert "/health/" in str(own["url"])
    tocsin.wait_until(lambda: verdict(tocsin, own["id"]) == "up", what="for its own target to be up")


def test_a_stop_is_noticed_told_and_taken_back(tocsin: Installation, service: Served, receiver: Served) -> None:
    tocsin.post("/v1/channels", {"name": "receiver", "kind": "webhook", "url": receiver.url})
    target = tocsin.post(
        "/v1/targets",
        {"name": "shop", "kind": "http", "url": service.url, "interval_s": 1, "timeout_s": 1, "recheck_s": 1},
    )["id"]
    tocsin.wait_until(lambda: verdict(tocsin, target) == "up", what="for the service to be up")

    service.stop()
    tocsin.wait_until(lambda: verdict(tocsin, target) == "down", what="for the service to be down")
    assert "refused" in str(tocsin.get(f"/v1/targets/{target}")["reason"])
    down = tocsin.wait_until(lambda: told(receiver, "down", "shop"), what="for the message that it is down")
    assert "refused" in down[0]["reason"]

    service.start()
    tocsin.wait_until(lambda: verdict(tocsin, target) == "up", what="for the service to be up again")
    recovered = tocsin.wait_until(
        lambda: told(receiver, "recovered", "shop"), what="for the message that it is up again"
    )

    newest, before = tocsin.items(f"/v1/targets/{target}/transitions")[:2]
    assert (before["to"], newest["to"]) == ("down", "up")
    lasted_s = (ms(newest["at"]) - ms(before["at"])) / 1000
    assert recovered[0]["duration_s"] == pytest.approx(lasted_s, abs=0.001)
    assert before["has_evidence"], "why it was down can be looked up"
    failed = tocsin.get(f"/v1/targets/{target}/checks/{int(ms(before['check_at']))}/evidence")
    assert "refused" in str(failed["error"])


def test_the_command_line_works_beside_the_server(tocsin: Installation, service: Served) -> None:
    added = tocsin.command("target", "add", service.url, "--name", "by hand", "--interval", "1")
    assert added.returncode == 0, added.stderr
    found = [target for target in tocsin.items("/v1/targets") if target["name"] == "by hand"]
    tocsin.wait_until(lambda: verdict(tocsin, found[0]["id"]) == "up", what="for the worker to find it")


def test_pausing_stops_the_checks_and_keeps_the_history(tocsin: Installation, service: Served) -> None:
    target = tocsin.post(
        "/v1/targets", {"name": "paused", "kind": "http", "url": service.url, "interval_s": 1, "timeout_s": 1}
    )["id"]
    tocsin.wait_until(lambda: verdict(tocsin, target) == "up", what="for it to be up")
    tocsin.post(f"/v1/targets/{target}/pause")
    assert tocsin.get(f"/v1/targets/{target}")["paused"] is True
    assert verdict(tocsin, target) == "unknown"
    checks = tocsin.wait_until(lambda: tocsin.items(f"/v1/targets/{target}/checks"), what="for its history")
    tocsin.post(f"/v1/targets/{target}/resume")
    tocsin.wait_until(lambda: verdict(tocsin, target) == "up", what="for it to be up again")
    kept = tocsin.items(f"/v1/targets/{target}/checks")
    assert {check["at"] for check in checks} <= {check["at"] for check in kept}


def test_a_restart_keeps_everything(make: Make, tmp_path: Path) -> None:
    lists = ("/v1/targets", "/v1/channels", "/v1/rules", "/v1/keys")

    def kept(tocsin: Installation) -> dict[str, list[tuple[object, object]]]:
        return {path: [(item["id"], item["name"]) for item in tocsin.items(path)] for path in lists}

    with started(make(tmp_path, roles={"api": 1, "worker": 1, "alerts": 1})) as tocsin:
        own = tocsin.items("/v1/targets")[0]["id"]
        tocsin.wait_until(lambda: verdict(tocsin, own) == "up", what="for its own target to be up")
        tocsin.post("/v1/channels", {"name": "hook", "kind": "webhook", "url": "http://127.0.0.1:9/"})
        before, checks = kept(tocsin), tocsin.items(f"/v1/targets/{own}/checks")
        assert tocsin.stop() == 0

        tocsin.start()
        assert kept(tocsin) == before
        assert {check["at"] for check in checks} <= {check["at"] for check in tocsin.items(f"/v1/targets/{own}/checks")}
        signed_in = httpx.post(f"{tocsin.address}/v1/session", json={"name": "admin", "password": PASSWORD}, timeout=30)
        assert signed_in.status_code == 200


def test_nothing_is_open_but_what_must_be(tocsin: Installation) -> None:
    for path in ("/health/live", "/health/ready"):
        assert httpx.get(tocsin.address + path, timeout=30).status_code == 200
    for path in ("/v1/targets", "/v1/overview", "/v1/channels", "/metrics", "/v1/keys"):
        answer = httpx.get(tocsin.address + path, timeout=30)
        assert answer.status_code == 401, path
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_taken_port_is_said_in_one_line(tocsin: Installation, tmp_path: Path) -> None:
    taken = tocsin.address.rpartition(":")[2]
    refused = Tocsin(tmp_path, {"TOCSIN_PORT": taken}).command("up")
    assert refused.returncode == 1
    assert f"127.0.0.1:{taken}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    wrong = Tocsin(tmp_path, {"TOCSIN_PORT": "many", "TOCSIN_KEEP_CHECKS_DAYS": "-1"}).command("up")
    assert wrong.returncode == 2
    assert "TOCSIN_PORT" in wrong.stderr
    assert "TOCSIN_KEEP_CHECKS_DAYS" in wrong.stderr
    assert "Traceback" not in wrong.stderr
