"""Deployments beside the charts: on the pages of what they concern, as text, and folded where there are many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.axe import violations
from tests.browser.machines import FACTS, MARKUP, SMALL, Machine, ingest_key, registered, reporting
from tests.browser.service import Service
from tests.browser.targets import new_name, open_target, watch
from tests.running import Tocsin

_numbers: Final = count(1)


@pytest.fixture(scope="module")
def watched() -> Iterator[Service]:
    service = Service()
    service.start()
    yield service
    service.stop()


Tell = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def tell(installation: Tocsin) -> Tell:
    """Tells of a deployment, as a pipeline does at its end."""
    headers = {"Authorization": f"Bearer {ingest_key(installation, 'pipeline')}"}

    def tell(*, expect: int = 201, **fields: object) -> httpx.Response:
        known = {"id": f"run-{next(_numbers)}", "service": "checkout-api", "version": "v1.42.0", "by": "ada"}
        address = f"{installation.address}/v1/ingest/deployments"
        answer = httpx.post(address, json=known | fields, headers=headers, timeout=30)
        assert answer.status_code == expect, answer.text
        return answer

    return tell


def _deployments(page: Page) -> Locator:
    return page.get_by_role("region", name="Deployments in this window")


def _target(installation: Tocsin, watched: Service, **fields: object) -> dict[str, object]:
    """With a check, so that there is a chart."""
    target = watch(installation, watched.address, **fields)
    installation.wait_until(lambda: installation.items(f"/v1/targets/{target['id']}/checks"), what="for a check")
    return target


def test_a_target_shows_those_that_concern_it(page: Page, installation: Tocsin, watched: Service, tell: Tell) -> None:
    tag = new_name("shop")
    concerned = _target(installation, watched, tags=[tag])
    other = _target(installation, watched)
    tell(
        tags=[tag],
        service=f"{new_name('m')} {MARKUP}",
        description=MARKUP,
        url="https://ci.example/run/4711",
    )
    tell(targets=[concerned["name"]], service="search", version="v7", status="failed")

    open_target(page, concerned)
    rows = _deployments(page).get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text(re.compile("failed.*search v7.*production.*by ada"))
    marked = rows.nth(1)
    expect(marked).to_contain_text(re.compile(f"succeeded.*{re.escape(MARKUP)} v1.42.0.*{re.escape(MARKUP)}"))
    link = marked.get_by_role("link", name="details of")
    expect(link).to_have_attribute("href", "https://ci.example/run/4711")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    assert page.locator("img[src=x]").count() == 0
    latency = page.get_by_role("region", name="Latency")
    expect(latency.get_by_role("img")).to_have_accessible_name(re.compile("2 deployments, 1 failed"))
    expect(latency.locator("figure")).to_contain_text("2 deployments, 1 failed")
    faults = violations(page)
    assert not faults, "\n".join(faults)

    with page.expect_response("**/v1/deployments?*"):
        open_target(page, other)
    expect(latency.locator("canvas")).to_be_visible()
    expect(_deployments(page)).to_have_count(0)


def test_a_machine_shows_those_that_concern_it(page: Page, installation: Tocsin, tell: Tell) -> None:
    with reporting(installation, ingest_key(installation, new_name("deployed"))) as machines:
        tag = new_name("web")
        ids: dict[str, object] = {}
        for uid, tags in ((new_name("concerned"), [tag]), (new_name("other"), [])):
            machines.add(Machine(uid=uid, every_ms=1000, layout=SMALL, facts=FACTS, tags=tags), history_s=600)
            ids[uid] = registered(installation, uid)["id"]
        concerned, other = ids
        five_minutes_ago = datetime.now(UTC) - timedelta(minutes=5)
        tell(tags=[tag], started_at=five_minutes_ago.isoformat(), finished_at=five_minutes_ago.isoformat())
        tell(machines=[concerned], service="kernel", version="6.12", status="running")

        page.goto(f"/machines/{ids[concerned]}?window=1h")
        rows = _deployments(page).get_by_role("listitem")
        expect(rows).to_have_count(2)
        expect(rows.first).to_contain_text(re.compile("running.*kernel 6.12"))
        cpu, memory = page.locator("[data-chart=cpu]"), page.locator("[data-chart=memory]")
        expect(cpu.get_by_role("img")).to_have_accessible_name(re.compile("2 deployments"))
        over = cpu.locator(".u-over")
        over.scroll_into_view_if_needed()
        box = over.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 55 / 60, box["y"] + 40)
        for chart in (cpu, memory):
            expect(chart.locator("figcaption")).to_contain_text("checkout-api v1.42.0 · production · by ada")

        with page.expect_response("**/v1/deployments?*"):
            page.goto(f"/machines/{ids[other]}?window=1h")
        expect(cpu.locator("canvas")).to_be_visible()
        expect(_deployments(page)).to_have_count(0)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//ci.example"])
def test_no_address_that_a_browser_would_run(tell: Tell, url: str) -> None:
    refused = tell(url=url, expect=422)
    assert [error["field"] for error in refused.json()["errors"]] == ["url"]


def test_many_are_folded(page: Page, installation: Tocsin, watched: Service, tell: Tell) -> None:
    target = _target(installation, watched)
    for number in range(9):
        tell(targets=[target["name"]], service=f"service-{number}")
    open_target(page, target)
    shown = _deployments(page)
    rows = shown.get_by_role("listitem")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text("service-8")
    shown.get_by_role("button", name="Show 4 more").click()
    expect(rows).to_have_count(9)
    shown.get_by_role("button", name="Show fewer").click()
    expect(rows).to_have_count(5)


def test_a_thousand_are_listed_step_by_step(page: Page, installation: Tocsin, watched: Service, tell: Tell) -> None:
    target = _target(installation, watched)
    tell(targets=[target["name"]])

    def many(route: Route) -> None:
        assert parse_qs(urlsplit(route.request.url).query)["limit"] == ["1000"]
        [pattern] = route.fetch().json()["items"]
        items = [{**pattern, "id": f"many-{number}"} for number in range(1000)]
        route.fulfill(json={"items": items, "next": "more"})

    page.route("**/v1/deployments?*", many)
    open_target(page, target)
    shown = _deployments(page)
    rows = shown.get_by_role("listitem")
    expect(shown).to_contain_text("the newest 1,000 are listed")
    expect(rows).to_have_count(5)
    shown.get_by_role("button", name="Show 50 more").click()
    expect(rows).to_have_count(55)


def test_charts_go_on_without(page: Page, installation: Tocsin, watched: Service, tell: Tell) -> None:
    target = _target(installation, watched)
    tell(targets=[target["name"]])
    page.route("**/v1/deployments?*", lambda route: route.fulfill(status=400, json={"title": "Out of order"}))
    open_target(page, target)
    latency = page.get_by_role("region", name="Latency")
    expect(latency.get_by_role("status")).to_contain_text("deployments cannot be marked")
    expect(latency.get_by_role("status")).to_contain_text("Out of order")
    expect(latency.locator("canvas")).to_be_visible()
    expect(_deployments(page)).to_have_count(0)


def test_every_transition_of_the_window_is_asked_for(page: Page, installation: Tocsin, watched: Service) -> None:
    """Not only those that the list below has loaded, nor only those that began in the window."""
    target = _target(installation, watched)
    with page.expect_request("**/transitions?*lasting=true*") as asked:
        open_target(page, target)
    query = parse_qs(urlsplit(asked.value.url).query)
    assert query["limit"] == ["1000"]
    assert {"from", "to"} <= set(query)
    # A change of what it is refreshes them at once.
    with page.expect_request("**/transitions?*lasting=true*", timeout=20_000):
        watched.stop()
    watched.start()
