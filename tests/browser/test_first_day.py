"""Somebody new: signs in, adds the first thing of their own, sees it go down and come back."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.service import Service
from tests.browser.targets import new_name, open_target, watch
from tests.running import PASSWORD, Tocsin


def test_signing_in_says_what_is_wrong_and_then_lets_in(stranger: Page) -> None:
    stranger.goto("/targets?verdict=down")
    stranger.get_by_label("Password", exact=True).fill("not it")
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_text("do not belong together")).to_be_visible()

    stranger.get_by_label("Password", exact=True).fill(PASSWORD)
    stranger.keyboard.press("Enter")
    # Where they wanted to go, not somewhere else.
    expect(stranger.get_by_role("heading", name="Targets", level=1)).to_be_visible()
    assert "verdict=down" in stranger.url


def test_a_session_that_ended_shows_the_sign_in_page_where_it_stands(page: Page) -> None:
    page.goto("/targets")
    expect(page.get_by_role("heading", name="Targets", level=1)).to_be_visible()
    page.context.clear_cookies()
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_target_added_with_one_address_is_seen_going_down_and_coming_back(
    page: Page, installation: Tocsin, service: Service
) -> None:
    page.goto("/targets/new")
    page.get_by_role("textbox", name="URL").fill(service.address)
    name = new_name("shop")
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_label("Check every, seconds").fill("1")
    page.get_by_label("Timeout, seconds").fill("1")
    page.get_by_text("When it counts as down").click()
    page.get_by_label("Look again after a first failure, seconds").fill("1")
    page.get_by_role("button", name="Watch it").click()

    others = _down(installation)
    title = page.get_by_role("heading", name=name, level=1)
    expect(title).to_be_visible()
    state = page.locator("article header p[data-sign]").first
    expect(state).to_contain_text("up for")

    # From here on nothing is reloaded and nothing is clicked: it must come by itself.
    service.stop()
    expect(state).to_contain_text("down for")
    expect(page.get_by_text("refused").first).to_be_visible()
    expect(page).to_have_title(f"{others + 1} down · Targets · Tocsin")
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", "/signs/down.svg")

    service.start()
    expect(state).to_contain_text("up for")
    expect(page).to_have_title(f"{others} down · Targets · Tocsin" if others else "Targets · Tocsin")
    expect(page.get_by_role("region", name="Transitions").get_by_text("recovered")).to_be_visible()


def _down(installation: Tocsin) -> int:
    counts = installation.get("/v1/overview")["counts"]
    assert isinstance(counts, dict)
    return int(counts["down"])


def test_the_list_and_the_overview_follow_by_themselves(page: Page, installation: Tocsin, service: Service) -> None:
    target = watch(installation, service.address)
    page.goto("/targets")
    row = page.get_by_role("row").filter(has_text=str(target["name"]))
    expect(row.get_by_role("img", name="up", exact=True)).to_be_visible()

    service.stop()
    expect(row.get_by_role("img", name="down", exact=True)).to_be_visible()
    gone = re.compile("refused|reset")  # the check that was under way when it stopped was cut off
    expect(row).to_contain_text(gone)

    page.get_by_role("link", name="Overview", exact=True).click()
    worst = (
        page.get_by_role("region", name="State of everything").get_by_role("link").filter(has_text=str(target["name"]))
    )
    expect(worst).to_contain_text(gone)
    service.start()
    expect(worst).to_have_count(0)


def test_why_it_was_down_can_be_read_and_sent_to_somebody(page: Page, installation: Tocsin, service: Service) -> None:
    target = watch(installation, f"{service.address}/status/503", **{"assert": ["status == 200"]})
    open_target(page, target)
    reason = page.locator("article header")
    reason.get_by_role("link", name="evidence").click()

    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("status == 200")
    expect(drawer).to_contain_text("status was")
    expect(drawer).to_contain_text("503")
    expect(drawer).to_contain_text("<h1>The database is gone</h1>")
    expect(drawer).to_contain_text("first byte")
    assert "check=" in page.url

    page.reload()
    expect(page.get_by_role("dialog")).to_contain_text("503")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "check=" not in page.url
