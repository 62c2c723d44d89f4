"""One target's page tells no lies about a short past, and the keyboard works wherever the focus is."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.service import Service
from tests.browser.targets import open_target, watch
from tests.running import Tocsin


def test_a_short_past_is_not_shown_as_a_year(page: Page, installation: Tocsin, service: Service) -> None:
    target = watch(installation, service.address)
    installation.wait_until(
        lambda: len(installation.items(f"/v1/targets/{target['id']}/checks")) >= 3, what="for three checks"
    )
    open_target(page, target)
    year = page.locator("[aria-label=Uptime] > div").filter(has_text="1 year")
    expect(year).to_contain_text("100 %")
    expect(year).to_contain_text("measured")
    chart = page.get_by_role("region", name="Latency")
    with page.expect_request("**/latency?*step=1") as asked:
        chart.get_by_role("radiogroup", name="Time window").get_by_text("1 y", exact=True).click()
    assert "window=1y" in page.url
    # The same once more: the browser keeps no answer that a newer one has taken the place of.
    latency = installation.get(asked.value.url.removeprefix(installation.address))
    # Days would be one dot at the edge of an empty year.
    assert float(str(latency["step_s"])) <= 10
    expect(chart).to_contain_text("all there is so far")


def test_shortcuts_work_after_a_window_was_chosen(page: Page, installation: Tocsin, service: Service) -> None:
    open_target(page, watch(installation, service.address))
    chart = page.get_by_role("region", name="Latency")
    chart.get_by_role("radiogroup", name="What is drawn").get_by_text("Phases").click()
    page.keyboard.press("/")
    expect(page.get_by_role("dialog")).to_be_visible()
