"""What changed lately: no news is no line, trouble is told with how long and why, many equal changes are one line."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from tests.browser.service import Service
from tests.browser.targets import watch
from tests.running import Tocsin


def _wait_for(installation: Tocsin, target: dict[str, object], verdict: str) -> None:
    installation.wait_until(
        lambda: installation.get(f"/v1/targets/{target['id']}")["verdict"] == verdict, what=f"for it to be {verdict}"
    )


def test_an_outage_is_one_line_that_says_how_long_and_why(page: Page, installation: Tocsin, service: Service) -> None:
    target = watch(installation, service.address)

    def only_this(route: Route) -> None:
        """Other tests' targets go down too, and in the same minute they would be told in one line with this one."""
        overview = route.fetch().json()
        overview["timeline"] = [one for one in overview["timeline"] if one["target"]["id"] == target["id"]]
        route.fulfill(json=overview)

    page.route("**/v1/overview", only_this)
    _wait_for(installation, target, "up")
    page.goto("/")
    changes = page.get_by_role("region", name="Recent changes")
    line = changes.get_by_role("listitem").filter(has=page.get_by_role("link", name=str(target["name"]), exact=True))
    expect(changes).to_be_visible()
    # That it was found up when it was new is no news.
    expect(line).to_have_count(0)

    service.stop()
    expect(line).to_contain_text("down for")
    expect(line).to_contain_text("refused")
    service.start()
    expect(line).to_contain_text("recovered after")
    expect(line).to_contain_text("refused")
    expect(line).to_have_count(1)


def test_many_equal_changes_of_one_minute_are_one_line_that_opens(page: Page) -> None:
    def many(route: Route) -> None:
        overview = route.fetch().json()
        overview["timeline"] = [
            {
                "id": 1_000 + number,
                "rule": "reachable",
                "from": "up",
                "to": "down",
                "at": "2026-03-01T14:02:30.000Z",
                "ended_at": None,
                "duration_s": 60,
                "reason": "connection refused",
                "location": "local",
                "check_at": "2026-03-01T14:02:30.000Z",
                "has_evidence": False,
                "target": {"id": number, "name": f"svc-{number:04}"},
            }
            for number in range(60)
        ]
        route.fulfill(json=overview)

    page.route("**/v1/overview", many)
    page.goto("/")
    changes = page.get_by_role("region", name="Recent changes")
    fold = changes.get_by_role("button", name="60 targets")
    expect(changes.get_by_role("listitem")).to_have_count(1)
    expect(changes).to_contain_text("connection refused")
    fold.click()
    expect(fold).to_have_attribute("aria-expanded", "true")
    expect(changes.get_by_role("link", name="svc-0059")).to_be_visible()
    expect(changes.get_by_role("link")).to_have_count(60)
    fold.click()
    expect(changes.get_by_role("link")).to_have_count(0)


def test_of_much_trouble_the_worst_is_in_sight_and_the_rest_one_press_away(page: Page) -> None:
    def much(route: Route) -> None:
        overview = route.fetch().json()
        overview["worst"] = [
            {
                "id": number,
                "name": f"svc-{number:04}",
                "verdict": "down",
                "since": "2026-03-01T14:02:30.000Z",
                "reason": "connection refused",
                "because_of": None,
            }
            for number in range(50)
        ]
        overview["worst_machines"] = []
        overview["counts"] |= {"down": 57, "degraded": 0, "unknown": 0}
        overview["machines"] |= {"down": 0, "degraded": 0}
        route.fulfill(json=overview)

    page.route("**/v1/overview", much)
    page.goto("/")
    band = page.get_by_role("region", name="State of everything")
    told = band.get_by_role("listitem").filter(has_text="connection refused")
    expect(told).to_have_count(10)
    band.get_by_role("button", name="Show 47 more").click()
    expect(told).to_have_count(50)
    expect(band.get_by_role("link", name="and 7 more targets")).to_be_visible()
    band.get_by_role("button", name="Show fewer").click()
    expect(told).to_have_count(10)
