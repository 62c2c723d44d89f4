"""The list of targets: filters in the address, many at once, thousands without a stutter, text that stays text."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.service import Service
from tests.browser.targets import new_name, open_target, still, watch
from tests.running import PASSWORD, Tocsin, running


def test_filters_live_in_the_address(page: Page, installation: Tocsin) -> None:
    tag = new_name("tag")
    one = still(installation, tags=[tag, "blue"])
    other = still(installation, tags=[tag])
    page.goto("/targets")
    page.get_by_role("searchbox", name="Name, address or tag").fill(tag)
    rows = page.get_by_role("row").filter(has=page.get_by_role("link"))
    bar = page.get_by_role("search")
    expect(rows).to_have_count(2)
    bar.get_by_role("button", name="Tag").click()
    page.get_by_role("menuitem", name=re.compile("^blue")).click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(str(one["name"]))
    assert f"q={tag}" in page.url
    assert "tag=blue" in page.url

    page.reload()
    expect(rows).to_have_count(1)
    bar.get_by_role("button", name="State").click()
    page.get_by_role("menuitem", name=re.compile("^paused")).click()
    expect(rows).to_have_count(1)
    page.get_by_role("searchbox", name="Name, address or tag").fill("nothing is called this")
    expect(page.get_by_text("No target matches")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Show all")).click()
    expect(rows.filter(has_text=str(other["name"]))).to_be_visible()
    assert page.url.endswith("/targets")


def test_pausing_is_done_at_once_and_undone_with_one_click(page: Page, installation: Tocsin, service: Service) -> None:
    target = watch(installation, service.address)
    open_target(page, target)
    page.get_by_role("button", name="Pause", exact=True).click()
    state = page.locator("article header p[data-sign]").first
    expect(state).to_contain_text("paused for")
    assert installation.get(f"/v1/targets/{target['id']}")["enabled"] is False

    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(state).to_contain_text("up for")
    assert installation.get(f"/v1/targets/{target['id']}")["enabled"] is True


def test_several_are_paused_together(page: Page, installation: Tocsin, service: Service) -> None:
    tag = new_name("tag")
    made = [watch(installation, service.address, tags=[tag]) for _ in range(2)]
    page.goto(f"/targets?tag={tag}")
    for target in made:
        page.get_by_role("checkbox", name=f"Select {target['name']}").check(force=True)
    page.get_by_role("toolbar", name="Selected targets").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("img", name="paused", exact=True)).to_have_count(2)
    expect(page.get_by_text("2 targets paused.")).to_be_visible()


def test_a_tag_is_given_to_several_and_taken_from_them(page: Page, installation: Tocsin) -> None:
    shared, wanted = new_name("tag"), new_name("tag")
    made = [still(installation, tags=[shared]) for _ in range(2)]
    page.goto(f"/targets?tag={shared}")
    for target in made:
        page.get_by_role("checkbox", name=f"Select {target['name']}").check(force=True)
    tools = page.get_by_role("toolbar", name="Selected targets")
    tools.get_by_role("button", name="Tags").click()
    page.get_by_role("textbox", name="Add a tag").fill(wanted)
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"“{wanted}” added to 2 targets.")).to_be_visible()
    for target in made:
        assert installation.get(f"/v1/targets/{target['id']}")["tags"] == [shared, wanted]

    tools.get_by_role("button", name="Tags").click()
    page.get_by_role("menuitem", name=f"Take {wanted} away from 2 targets").click()
    expect(page.get_by_text(f"“{wanted}” taken from 2 targets.")).to_be_visible()
    for target in made:
        assert installation.get(f"/v1/targets/{target['id']}")["tags"] == [shared]
    page.get_by_role("button", name="Undo").last.click()
    installation.wait_until(
        lambda: all(wanted in str(installation.get(f"/v1/targets/{each['id']}")["tags"]) for each in made),
        what="for the tag to be back",
    )


def test_deleting_asks_for_the_name(page: Page, installation: Tocsin) -> None:
    target = still(installation)
    open_target(page, target)
    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_role("textbox").fill("something else")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_role("textbox").fill(str(target["name"]))
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Targets", level=1)).to_be_visible()
    installation.request("GET", f"/v1/targets/{target['id']}", expect=404)


MARKUP = '<img src=x onerror="alert(1)"><b>bold</b>'


def test_markup_from_outside_is_text(page: Page, installation: Tocsin, service: Service) -> None:
    name = f"{new_name('m')} {MARKUP}"
    target = watch(installation, f"{service.address}/status/500", name=name, tags=["<i>tag</i>"], description=MARKUP)
    page.goto("/targets")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("region", name="State of everything").get_by_role("link", name=name)).to_be_visible()
    open_target(page, target)
    page.locator("article header").get_by_role("link", name="evidence").click()
    page.get_by_text("3 headers").or_(page.get_by_text("4 headers")).click()
    expect(page.get_by_role("dialog")).to_contain_text("<i>not markup</i>")
    assert page.locator("img, b").filter(has_text="bold").count() == 0
    assert page.locator("img[src=x]").count() == 0


def test_ten_thousand_rows_scroll_with_few_of_them_drawn(page: Page, installation: Tocsin) -> None:
    still(installation)
    patterns: list[dict[str, object]] = []

    def many(route: Route) -> None:
        """What the server answers, made many: ten pages of a thousand."""
        query = parse_qs(urlsplit(route.request.url).query)
        page_number = int(query.get("cursor", ["0"])[0])
        if not patterns:
            patterns.append(route.fetch().json()["items"][0])
        first = page_number * 1_000
        items = [
            {**patterns[0], "id": 100_000 + number, "name": f"target {number:05}"}
            for number in range(first, first + 1_000)
        ]
        following = str(page_number + 1) if page_number < 9 else None
        route.fulfill(json={"items": items, "next": following})

    page.route("**/v1/targets?*", many)
    # The live connection knows nothing of the ten thousand, and would take them away again.
    page.route_web_socket("**/ws", lambda socket: None)
    page.goto("/targets?sort=name")
    rows = page.locator("[data-index]")
    expect(page.get_by_role("heading", name="Targets", level=1)).to_contain_text("10,000")
    expect(page.get_by_role("link", name="target 00000")).to_be_visible()
    assert rows.count() < 80
    began = time.monotonic()
    for _ in range(30):
        page.mouse.move(640, 500)
        page.mouse.wheel(0, 20_000)
    expect(page.get_by_role("link", name="target 09999")).to_be_visible()
    print(f"\n10,000 rows from top to bottom: {time.monotonic() - began:.2f} s")
    assert rows.count() < 80
    page.get_by_role("searchbox", name="Name, address or tag").fill("target 04242")
    expect(page.get_by_role("link", name="target 04242")).to_be_visible()
    expect(rows).to_have_count(1)


@pytest.mark.slow
def test_sign_in_with_a_thousand_targets(browser: Browser, tmp_path: Path) -> None:
    """Says how long it takes from the press of Enter to rows that can be used."""
    with running(tmp_path) as installation:
        headers = {"Authorization": f"Bearer {installation.key}"}
        with httpx.Client(base_url=installation.address, headers=headers, timeout=30) as client:
            for number in range(1_000):
                body = {"name": f"t{number:04}", "kind": "tcp", "host": "127.0.0.1", "port": 9, "enabled": False}
                assert client.post("/v1/targets", json=body).status_code == 201
        context = browser.new_context(base_url=installation.address, viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto("/targets?sort=name")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        began = time.monotonic()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="t0005").wait_for()
        took = time.monotonic() - began
        expect(page.get_by_role("heading", name="Targets", level=1)).to_contain_text("1,001")
        print(f"\nsign-in to a usable list of 1,000 targets: {took:.2f} s")
        context.close()
