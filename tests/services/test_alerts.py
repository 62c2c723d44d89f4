"""The alerts service on a real clock against real servers: what arrives, what is recorded, and what a crash leaves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.alerting import SECRET_KEY, Stage
from tests.servers import Asked, answering, hang, read_request, reply, serving
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import channels
from tocsin.core.alerting import AlertTiming
from tocsin.core.bands import REPORTING
from tocsin.core.outcome import Result
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.net import Network
from tocsin.services import alerts
from tocsin.services.alerts import Alerts, Outbox
from tocsin.store import notifications
from tocsin.store.engine import Store, StoreBusy
from tocsin.store.notifications import Notification
from tocsin.store.parents import set_parents

QUICK = AlertTiming(group_wait_ms=0, retry_delays_ms=(20,))
HOOK_KEY = bytes(range(24))
HOOK_SECRET = "whsec_" + base64.b64encode(HOOK_KEY).decode()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'tocsin.db'}"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    opened.migrate()
    yield opened
    opened.close()


class Service:
    """A stage on the real clock, and the service that runs on it."""

    def __init__(self, store: Store) -> None:
        self.stage = Stage(store)
        self.catch_up()
        self.bus = MemoryBus()
        self.stop = asyncio.Event()

    def catch_up(self) -> None:
        """Sets the stage's clock by the real one."""
        self.stage.clock.jump_ms(SYSTEM_CLOCK.now_ms() - self.stage.clock.now_ms())

    def channel(self, name: str, kind: str, **fields: object) -> int:
        given = {"kind": kind, "name": name, **fields}
        with self.stage.store.write() as conn:
            return channels.create(conn, given, vault=self.stage.vault, now_ms=0).id

    def hook(self, name: str, url: str, **fields: object) -> int:
        return self.channel(name, "webhook", url=url, **fields)

    def down(self, name: str = "shop") -> int:
        number = self.stage.target(name)
        self.stage.down(number)
        self.bus.ring("transitions")
        return number

    @asynccontextmanager
    async def running(self, timing: AlertTiming = QUICK) -> AsyncIterator[None]:
        service = Alerts(
            store=self.stage.store,
            vault=self.stage.vault,
            bus=self.bus,
            clock=SYSTEM_CLOCK,
            network=Network.open,
            link_base="http://127.0.0.1:8080",
            timing=timing,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(service.run(self.stop))
            yield
            self.stop.set()
            await asyncio.wait([task], timeout=1)
            task.cancel()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - what is waited for is in a database
                await asyncio.sleep(0.01)

    def only(self, channel_id: int) -> Notification:
        (message,) = self.stage.messages(channel_id)
        return message

    def is_now(self, channel_id: int, status: str) -> Callable[[], bool]:
        return lambda: [message.status for message in self.stage.messages(channel_id)] == [status]


@pytest.fixture
def service(store: Store, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(alerts, "EVERY_S", 0.05)
    return Service(store)


async def test_a_target_goes_down_and_a_signed_message_arrives(service: Service) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(b"thanks"), asked)) as server, service.running():
        hook = service.hook("hook", server.url, secret=HOOK_SECRET)
        shop = service.down()
        await service.until(service.is_now(hook, "delivered"))
    (request,) = asked
    message = service.only(hook)
    assert request.headers["webhook-id"] == message.delivery_key
    signed = f"{message.delivery_key}.{request.headers['webhook-timestamp']}.".encode() + request.body
    digest = base64.b64encode(hmac.digest(HOOK_KEY, signed, hashlib.sha256)).decode()
    assert request.headers["webhook-signature"] == f"v1,{digest}"
    assert json.loads(request.body)["data"]["items"][0]["target"] == {
        "id": shop,
        "name": "shop",
        "url": f"http://127.0.0.1:8080/targets/{shop}",
    }
    assert [(attempt.ok, attempt.detail) for attempt in message.attempts] == [(True, "answered 200 OK: thanks")]


async def test_a_machine_falls_silent_and_comes_back(service: Service) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(b"thanks"), asked)) as server, service.running():
        service.hook("hook", server.url)
        web = service.stage.machine("web-1")
        for result in (Result.FAILED, Result.PASSED):
            service.stage.turn_machine(result, web, rule=REPORTING, reason="no sample for 15 s")
            service.bus.ring("transitions")
            already = len(asked)
            await service.until(lambda already=already: len(asked) > already)  # type: ignore[misc]
    sent = [json.loads(request.body)["data"] for request in asked]
    assert [data["title"] for data in sent] == ["web-1: no sample for 15 s", "web-1 is back"]
    assert [data["items"][0]["machine"]["url"] for data in sent] == [f"http://127.0.0.1:8080/machines/{web}"] * 2


async def test_what_fails_is_repeated_with_the_same_key_until_it_arrives(service: Service) -> None:
    asked: list[Asked] = []
    answers = iter([reply(status=500), reply(status=429, headers=[("Retry-After", "0")]), reply(status=204, body=b"")])
    async with serving(answering(lambda _: next(answers), asked)) as server, service.running():
        hook = service.hook("hook", server.url)
        service.down()
        await service.until(service.is_now(hook, "delivered"))
    assert len({request.headers["webhook-id"] for request in asked}) == 1
    assert len({request.body for request in asked}) == 1
    assert [attempt.ok for attempt in service.only(hook).attempts] == [False, False, True]


async def test_gone_is_not_tried_again(service: Service) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(status=410), asked)) as server, service.running():
        hook = service.hook("hook", server.url)
        service.down()
        await service.until(service.is_now(hook, "refused"))
        await asyncio.sleep(0.2)  # long enough for several rounds
    assert len(asked) == 1


async def test_a_mail_server_that_hangs_delays_no_other_channel(service: Service) -> None:
    asked: list[Asked] = []
    async with serving(hang) as silent, serving(answering(reply(), asked)) as server, service.running():
        slow = service.channel(
            "mail",
            "email",
            host="127.0.0.1",
            port=silent.port,
            security="none",
            from_address="tocsin@example.org",
            to_addresses=["ops@example.org"],
        )
        hook = service.hook("hook", server.url)
        service.down("shop")
        await service.until(service.is_now(hook, "delivered"))
        assert service.only(slow).status == "sending"
        service.down("blog")
        await service.until(lambda: len(asked) == 2)
        assert service.stage.messages(slow)[0].status == "sending"


async def test_a_send_that_takes_too_long_is_tried_again(service: Service) -> None:
    async with (
        serving(hang) as server,
        service.running(AlertTiming(group_wait_ms=0, retry_delays_ms=(60_000,), send_deadline_s=0.1)),
    ):
        hook = service.hook("hook", server.url)
        service.down()
        await service.until(service.is_now(hook, "pending"))
        await service.until(lambda: bool(service.only(hook).attempts))
    assert service.only(hook).attempts[0].detail == "no answer within 0.1 s"


async def test_a_database_that_stalls_after_sending_does_not_repeat_the_message(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Asked] = []
    stalls = iter([True, True, False])
    record = Outbox.record

    def stalled(outbox: Outbox, *arguments: Any) -> Any:
        if next(stalls):
            raise StoreBusy("the database is locked by another process")
        return record(outbox, *arguments)

    monkeypatch.setattr(Outbox, "record", stalled)
    monkeypatch.setattr(alerts, "RECORD_AGAIN_S", 0.01)
    async with serving(answering(reply(), asked)) as server, service.running():
        hook = service.hook("hook", server.url)
        service.down()
        await service.until(service.is_now(hook, "delivered"))
    assert len(asked) == 1


async def test_the_loop_outlives_a_database_that_is_away(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Asked] = []
    away = iter([True] * 5)
    advance = Outbox.advance

    def sometimes(outbox: Outbox, *, everything: bool) -> list[int]:
        if next(away, False):
            raise StoreBusy("the database is locked by another process")
        return advance(outbox, everything=everything)

    monkeypatch.setattr(Outbox, "advance", sometimes)
    async with serving(answering(reply(), asked)) as server, service.running():
        hook = service.hook("hook", server.url)
        service.down()
        await service.until(service.is_now(hook, "delivered"))


async def test_news_goes_out_whatever_becomes_of_reminders(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(outbox: Outbox) -> int:
        raise LookupError("a defect")

    monkeypatch.setattr(Outbox, "remind", fail)
    async with serving(answering(reply())) as server, service.running():
        hook = service.hook("hook", server.url)
        service.down()
        await service.until(service.is_now(hook, "delivered"))


async def test_a_key_that_does_not_fit_is_said_and_tried_again(service: Service) -> None:
    from tocsin.lib.vault import Vault

    async with serving(answering(reply())) as server:
        hook = service.hook("hook", server.url, secret=HOOK_SECRET)
        service.stage.vault = Vault("quite another key than that")
        async with service.running(AlertTiming(group_wait_ms=0)):
            service.down()
            await service.until(lambda: bool(service.stage.messages(hook) and service.only(hook).attempts))
    message = service.only(hook)
    assert message.status == "pending"
    assert "TOCSIN_SECRET_KEY" in message.attempts[0].detail


async def test_what_nothing_rings_for_is_found_in_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency that is taken away changes no verdict; whoever was held because of it is told all the same."""
    monkeypatch.setattr(alerts, "EVERYTHING_EVERY_S", 0.1)
    stage = service.stage
    gateway = stage.target("gateway")
    shop = stage.target("shop", parents=[gateway])
    async with serving(answering(reply())) as server, service.running():
        hook = service.hook("hook", server.url)
        stage.down(gateway, shop)
        await service.until(service.is_now(hook, "delivered"))
        with stage.store.write() as conn:
            set_parents(conn, shop, [])
        await service.until(lambda: stage.titles(hook) == ["gateway is down", "shop is down"])


async def test_stopping_lets_a_send_under_way_end_and_be_recorded(service: Service) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await go_on.wait()
        writer.write(reply())
        await writer.drain()

    async with serving(slow) as server, service.running():
        hook = service.hook("hook", server.url)
        service.down()
        await arrived.wait()
        service.stop.set()
        await asyncio.sleep(0.05)
        go_on.set()
    assert service.only(hook).status == "delivered"


# ── a crash between sending and recording ─────────────────────────────────────────────────────────────


async def test_a_crash_between_send_and_record_repeats_the_message_and_never_loses_it(
    service: Service, database_url: str
) -> None:
    """The receiver itself kills the sender the moment it has the message, before the sender can know."""
    asked: list[Asked] = []
    children: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        children.append(
            subprocess.Popen([sys.executable, "-m", "tests.services.alerts_child", database_url, SECRET_KEY])
        )

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        if len(asked) == 1:
            os.kill(children[0].pid, signal.SIGKILL)
            return
        writer.write(reply())
        await writer.drain()

    async with serving(receive) as server:
        hook = service.hook("hook", server.url)
        service.down()
        try:
            start()
            await service.until(lambda: children[0].poll() is not None)
            assert children[0].returncode == -signal.SIGKILL
            assert service.only(hook).status == "sending"
            assert service.only(hook).attempts == []
            start()
            await service.until(service.is_now(hook, "delivered"))
        finally:
            for child in children:
                child.kill()
                child.wait()
    assert [request.headers["webhook-id"] for request in asked] == [service.only(hook).delivery_key] * 2
    assert asked[0].body == asked[1].body


async def test_what_is_held_back_outlives_crashes_and_is_told_when_its_parent_is_well_again(
    service: Service, database_url: str
) -> None:
    """Every message kills whoever sends it, the first time it arrives; the next process goes on from the database."""
    asked: list[Asked] = []
    children: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        children.append(
            subprocess.Popen([sys.executable, "-m", "tests.services.alerts_child", database_url, SECRET_KEY])
        )

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        known = any(request.headers["webhook-id"] == before.headers["webhook-id"] for before in asked)
        asked.append(request)
        if not known:
            os.kill(children[-1].pid, signal.SIGKILL)
            children[-1].wait()
            start()
            return
        writer.write(reply())
        await writer.drain()

    def titles() -> list[str]:
        return [json.loads(request.body)["data"]["title"] for request in asked]

    stage = service.stage
    gateway = stage.target("gateway", timeout_s=0.1)
    shop = stage.target("shop", parents=[gateway])
    async with serving(receive) as server:
        hook = service.hook("hook", server.url)
        stage.down(shop, gateway)
        try:
            start()
            await service.until(service.is_now(hook, "delivered"))
            service.catch_up()
            stage.up(gateway)
            await service.until(lambda: titles()[2:] == ["gateway recovered"] * 2)
            await asyncio.sleep(0.2)  # so much later looks at the shop pass the gateway
            service.catch_up()
            stage.down(shop)
            await service.until(lambda: titles()[4:] == ["shop is down"] * 2)
        finally:
            for child in children:
                child.kill()
                child.wait()
    assert titles()[:2] == ["gateway is down"] * 2
    assert len(children) == 4
    assert all(child.returncode == -signal.SIGKILL for child in children)


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────────

MAIL_PASSWORD = "korrekt-pferd-batterie"
SERVICE_TOKEN = "s3cr3t-t0k3n-of-the-service"


def bytes_under(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


async def test_secrets_are_nowhere_in_clear(
    service: Service, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the database or beside it, not in attempts, not in what is shown, not in the log; also where the other
    side answers with the very secret it was sent."""
    caplog.set_level(logging.INFO)

    def echo(request: Asked) -> bytes:
        return reply(f"{HOOK_SECRET} {request.target}".encode(), status=400)

    async def mail_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            if line.startswith(b"EHLO"):
                writer.write(b"250-fine\r\n250 AUTH PLAIN LOGIN\r\n")
            else:
                writer.write(f"535 {MAIL_PASSWORD} is wrong\r\n".encode())

    async with serving(answering(echo)) as server, serving(mail_server) as mail, service.running():
        made = [
            service.hook("hook", server.url, secret=HOOK_SECRET),
            service.channel("app", "apprise", url=f"json://127.0.0.1:{server.port}/{SERVICE_TOKEN}"),
            service.channel(
                "mail",
                "email",
                host="127.0.0.1",
                port=mail.port,
                security="none",
                username="tocsin",
                password=MAIL_PASSWORD,
                from_address="tocsin@example.org",
                to_addresses=["ops@example.org"],
            ),
        ]
        service.down()
        for channel_id in made:
            await service.until(
                lambda number=channel_id: bool(  # type: ignore[misc]
                    service.stage.messages(number) and service.only(number).attempts
                )
            )
    with service.stage.store.read() as conn:
        shown = [channels.describe(channels.get(conn, number)) for number in made]
        told = notifications.page(conn, limit=10)
    details = [attempt.detail for message in told for attempt in message.attempts]
    assert len(details) >= 3
    assert [one["secrets_set"] for one in shown] == [["secret"], ["url"], ["password"]]
    in_clear = {
        "database": bytes_under(tmp_path),
        "shown": repr(shown).encode(),
        "attempts": repr(told).encode(),
        "log": ("".join(capfd.readouterr()) + caplog.text).encode(),
    }
    assert b"mail" in in_clear["database"]
    assert b"was not delivered" in in_clear["log"]
    for where, content in in_clear.items():
        for secret in (HOOK_SECRET, base64.b64encode(HOOK_KEY).decode(), MAIL_PASSWORD, SERVICE_TOKEN):
            assert secret.encode() not in content, f"{secret} is in clear in: {where}"
