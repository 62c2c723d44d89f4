"""The public page before a real relay: what it shows, what it says when something is away, and that it only reads."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect
from websockets.sync.client import ClientConnection, connect

from tests.browser.axe import violations
from tests.browser.conftest import WIDE, Conduct
from tests.clocks import FakeClock
from tests.edge import served
from tests.running import free_port
from tocsin.lib.threads import beside

PHONE: Final[ViewportSize] = {"width": 390, "height": 844}


class Outside:
    """A relay at one address, that may be stopped and started, and gateways that feed it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self._port = free_port()
        self.host = f"127.0.0.1:{self._port}"
        self.address = f"http://{self.host}"

    @contextmanager
    def running(self) -> Iterator[None]:
        begun = threading.Event()

        async def main(stop: asyncio.Event) -> None:
            async with served.relay(self.clock, port=self._port):
                begun.set()
                await stop.wait()

        with beside("relay", main, stop_s=20):
            assert begun.wait(20)
            yield

    def gateway(self) -> AbstractContextManager[ClientConnection]:
        return connect(
            f"ws://{self.host}/gateway", additional_headers={"Authorization": f"Bearer {served.KEY}"}, open_timeout=20
        )

    def machine(self, number: int, name: str, verdict: str = "up", **rest: Any) -> dict[str, Any]:
        return served.machine(
            number,
            **{
                "name": name,
                "verdict": verdict,
                "current": {"cpu": 0.31, "memory": 0.62, "disk": 0.874, "load_1m": 1.25, "load_5m": 1, "load_15m": 0.5},
                **rest,
            },
        )


@pytest.fixture
def outside() -> Outside:
    return Outside()


Look = Callable[..., Page]


@pytest.fixture
def look(browser: Browser, outside: Outside) -> Iterator[Look]:
    """Opens the page; whatever it did that no page may is said at the end."""
    conduct = Conduct(outside.address)
    contexts = []

    def look(viewport: ViewportSize = WIDE, scheme: Literal["light", "dark"] = "light", **rest: Any) -> Page:
        context = browser.new_context(
            base_url=outside.address, viewport=viewport, color_scheme=scheme, reduced_motion="reduce", **rest
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        conduct.watch(page)
        page.goto("/")
        return page

    yield look
    for context in contexts:
        context.close()
    assert conduct.faults == []


def say(gateway: ClientConnection, **message: Any) -> None:
    gateway.send(json.dumps(message))


def test_machines_are_there_live_and_the_worst_first(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        say(gateway, type="initial", machines=[outside.machine(1, "db-1"), outside.machine(2, "web-1")])
        page = look()
        expect(page.get_by_role("heading", level=1)).to_have_text("All 2 are up")
        expect(page.get_by_role("status")).to_have_text("live")
        first = page.get_by_role("article").first
        expect(first).to_contain_text("db-1")
        expect(first.get_by_role("meter", name="Fullest disk")).to_have_attribute("aria-valuetext", "87\u00a0%")
        expect(first).to_contain_text("load 1.25")

        say(gateway, type="changes", machines=[{"id": 2, "verdict": "down"}, outside.machine(3, "web-2")])
        expect(page.get_by_role("heading", level=1)).to_have_text("1 down · 2 up")
        expect(page.get_by_role("article").first).to_contain_text("web-1")
        expect(page).to_have_title("1 down · Tocsin")
        expect(page.locator("link[rel=icon]")).to_have_attribute("href", "/signs/down.svg")

        say(gateway, type="changes", machines_removed=[1, 2])
        expect(page.get_by_role("article")).to_have_count(1)
        expect(page.get_by_role("heading", level=1)).to_have_text("Up")


def test_a_card_stays_where_it_is_under_the_pointer(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        say(gateway, type="initial", machines=[outside.machine(1, "a"), outside.machine(2, "b")])
        page = look()
        page.get_by_role("article").first.hover()
        say(gateway, type="changes", machines=[{"id": 2, "verdict": "down"}])
        expect(page.get_by_role("heading", level=1)).to_have_text("1 down · 1 up")
        expect(page.get_by_role("article").first).to_contain_text("a")
        page.get_by_role("heading", level=1).hover()
        expect(page.get_by_role("article").first).to_contain_text("b")


def test_what_was_not_chosen_is_not_drawn(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        say(
            gateway,
            type="initial",
            machines=[{"id": 7, "current": {"cpu": None}}, {"id": 8, "name": "", "current": None}],
        )
        page = look()
        expect(page.get_by_role("heading", level=1)).to_have_text("2 machines")
        expect(page.get_by_role("article", name="number 7").get_by_role("meter")).to_have_count(1)
        expect(page.get_by_role("article", name="number 8").get_by_role("meter")).to_have_count(0)
        expect(page.get_by_role("region", name="Targets")).to_have_count(0)


def test_targets_are_listed_where_they_are_chosen(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        targets = [
            {"id": 1, "slug": "shop", "verdict": "up", "enabled": True, "last_latency_ms": 41.6},
            {"id": 2, "slug": "old", "verdict": "down", "enabled": False},
            {"id": 3, "slug": "mail", "verdict": "down", "enabled": True, "since": "2027-01-15T07:56:00Z"},
        ]
        say(gateway, type="initial", targets=targets)
        page = look()
        expect(page.get_by_role("heading", level=1)).to_have_text("1 down · 1 up")
        rows = page.get_by_role("region", name="Targets").get_by_role("listitem")
        expect(rows).to_have_text(["maildown for 4\u00a0min", "shopup42\u00a0ms", "oldpaused"])


NASTY: Final = '<img src=x onerror="alert(1)"><b>bold</b>\u202e</script><script>alert(2)</script>'


def test_names_are_text(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        say(
            gateway,
            type="initial",
            machines=[outside.machine(1, NASTY, verdict="down", reason=NASTY)],
            targets=[{"id": 1, "slug": NASTY, "verdict": "down", "reason": NASTY}],
        )
        page = look()
        expect(page.get_by_role("article").get_by_role("heading")).to_have_text(NASTY)
        expect(page.get_by_role("listitem").last).to_contain_text(NASTY)
        assert page.locator("img, b").count() == 0


def test_no_data_yet_and_then_there_is(outside: Outside, look: Look) -> None:
    with outside.running():
        page = look()
        expect(page.get_by_role("heading", level=1)).to_have_text("No data yet")
        expect(page.get_by_role("status")).to_have_text("no data yet")
        expect(page.get_by_text("has not been there since")).to_be_visible()
        with outside.gateway() as gateway:
            expect(page.get_by_text("has not said anything yet")).to_be_visible()
            say(gateway, type="initial", machines=[])
            expect(page.get_by_role("heading", level=1)).to_have_text("Nothing to show")
            say(gateway, type="changes", machines=[outside.machine(1, "db-1")])
            expect(page.get_by_role("heading", level=1)).to_have_text("Up")


def test_a_source_that_is_gone_is_said_with_its_age(outside: Outside, look: Look) -> None:
    with outside.running():
        with outside.gateway() as gateway:
            say(gateway, type="initial", machines=[outside.machine(1, "db-1")])
            page = look()
            expect(page.get_by_role("status")).to_have_text("live")
            expect(page.get_by_role("article")).not_to_have_attribute("data-old", "true")
        expect(page.get_by_role("status")).to_have_text("source gone")
        expect(page.get_by_role("article")).to_have_attribute("data-old", "true")
        expect(page).to_have_title("source gone · Tocsin")
        expect(page.locator("link[rel=icon]")).to_have_attribute("href", "/signs/unknown.svg")
        outside.clock.tick(2 * 3600)
        expect(
            page.get_by_text("The source of this page is gone. What you see is how things stood 2\u00a0h")
        ).to_be_visible()
        expect(page.get_by_role("article")).to_contain_text("db-1")
        with outside.gateway() as gateway:
            say(gateway, type="ping")
            expect(page.get_by_role("status")).to_have_text("live")


def test_what_nobody_vouches_for_is_drawn_and_said_to_be_of_the_past(outside: Outside, look: Look) -> None:
    with outside.running():
        with outside.gateway() as gateway:
            targets = [{"id": 1, "slug": "shop", "verdict": "up", "enabled": True, "since": "2027-01-15T07:56:00Z"}]
            say(gateway, type="initial", machines=[outside.machine(1, "db-1")], targets=targets)
            page = look(timezone_id="UTC")
            title, card = page.get_by_role("heading", level=1), page.get_by_role("article")
            row = page.get_by_role("region", name="Targets").get_by_role("listitem")
            expect(title).to_have_text("All 2 are up")
            expect(row).to_contain_text("up for 4")
            live = {"title": look_of(title), "card": look_of(card), "row": look_of(row.locator("> *"))}
        expect(title).to_have_text("All 2 were up")
        expect(title.locator("svg")).to_have_attribute("data-sign", "unknown")
        expect(card).to_contain_text("was up since")
        expect(row).to_contain_text("was up since")
        old = {"title": look_of(title), "card": look_of(card), "row": look_of(row.locator("> *"))}
        assert all(old[name] != live[name] for name in live), (live, old)
        outside.clock.tick(120)
        with outside.gateway() as gateway:
            say(gateway, type="ping")
            expect(title).to_have_text("All 2 are up")
            expect(row).to_contain_text("up for 6")


def look_of(place: Locator) -> str:
    """Its colours and those of its first sign."""
    found: str = place.evaluate(
        """node => [node, node.querySelector("svg")].map(each => {
            const drawn = getComputedStyle(each)
            return [drawn.color, drawn.backgroundColor, drawn.borderStyle].join(" ")
        }).join(", ")"""
    )
    return found


def test_of_thousands_only_what_is_in_sight_is_there(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        numbers = range(1, 3001)
        pages = [
            [outside.machine(one, f"m-{one}") for one in numbers[first : first + 150]] for first in range(0, 3000, 150)
        ]
        for number, machines in enumerate(pages):
            say(gateway, type="initial", machines=machines, page=number, more=number < len(pages) - 1)
        page = look()
        expect(page.get_by_role("heading", level=1)).to_have_text("All 3,000 are up")
        cards = page.get_by_role("article")
        expect(cards.first).to_contain_text("m-1")
        assert cards.count() < 100
        page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        expect(page.get_by_role("article", name="m-3000", exact=True)).to_be_in_viewport()
        assert cards.count() < 100
        say(gateway, type="changes", machines=[{"id": 2999, "verdict": "down"}])
        page.evaluate("window.scrollTo(0, 0)")
        expect(cards.first).to_contain_text("m-2999")


def test_what_is_not_on_the_page_is_counted(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        machines = [outside.machine(1, "db-1"), outside.machine(2, "db-2")]
        say(gateway, type="initial", machines=machines, machines_left_out=12)
        page = look()
        expect(page.get_by_role("heading", level=1)).to_have_text("All 2 shown are up")
        expect(page.get_by_text("Not everything is shown: there are 12 machines more.")).to_be_visible()
        say(gateway, type="changes", machines_left_out=0)
        expect(page.get_by_role("heading", level=1)).to_have_text("All 2 are up")


def test_a_source_that_says_nothing_new_makes_old_data(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        say(gateway, type="initial", machines=[outside.machine(1, "db-1")])
        page = look()
        expect(page.get_by_role("status")).to_have_text("live")
        outside.clock.tick(60)
        expect(page.get_by_role("status")).to_have_text("old data")
        expect(page.get_by_text("has sent nothing new")).to_be_visible()
        say(gateway, type="ping")
        expect(page.get_by_role("status")).to_have_text("live")


def test_a_relay_that_is_restarted_is_found_again(outside: Outside, look: Look) -> None:
    with outside.running(), outside.gateway() as gateway:
        say(gateway, type="initial", machines=[outside.machine(1, "db-1")])
        page = look()
        expect(page.get_by_role("status")).to_have_text("live")
    expect(page.get_by_role("status")).to_have_text("reconnecting")
    expect(page.get_by_text("lost its server")).to_be_visible()
    expect(page.get_by_role("article")).to_contain_text("db-1")
    with outside.running():
        expect(page.get_by_role("status")).to_have_text("no data yet")
        with outside.gateway() as gateway:
            say(gateway, type="initial", machines=[outside.machine(1, "db-1")])
            expect(page.get_by_role("status")).to_have_text("live")


def test_the_theme_is_chosen_and_kept(outside: Outside, look: Look) -> None:
    with outside.running():
        page = look()
        root = page.locator("html")
        expect(root).to_have_attribute("data-mantine-color-scheme", "light")
        page.get_by_role("button", name="Theme: as the system").click()
        page.get_by_role("button", name="Theme: light").click()
        expect(root).to_have_attribute("data-mantine-color-scheme", "dark")
        page.reload()
        expect(root).to_have_attribute("data-mantine-color-scheme", "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_nothing_serious_in_any_state(
    outside: Outside, look: Look, viewport: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    found: dict[str, list[str]] = {}
    with outside.running():
        page = look(viewport, scheme)
        expect(page.get_by_role("status")).to_have_text("no data yet")
        found["no data"] = violations(page)
        with outside.gateway() as gateway:
            verdicts = ("up", "degraded", "down", "unknown")
            machines = [
                outside.machine(
                    number, f"a machine with a rather long name in {verdict}", verdict, reason="disk /var 92 %"
                )
                for number, verdict in enumerate(verdicts, 1)
            ]
            targets = [
                {
                    "id": number,
                    "slug": f"target-{verdict}-with-a-long-name",
                    "verdict": verdict,
                    "since": "2027-01-15T07:00:00Z",
                    "reason": "timed out after 10 s, and some more words",
                    "last_latency_ms": 12.3,
                    "last_check_at": "2027-01-15T08:00:00Z",
                }
                for number, verdict in enumerate(verdicts, 1)
            ]
            say(gateway, type="initial", machines=machines, targets=targets)
            expect(page.get_by_role("status")).to_have_text("live")
            found["live"] = violations(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        expect(page.get_by_role("status")).to_have_text("source gone")
        found["gone"] = violations(page)
    assert not any(found.values()), found
