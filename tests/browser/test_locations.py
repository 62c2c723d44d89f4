"""From where a target is seen, and because of what it is down: said on every page, chosen in the form."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from tests.browser.service import Service
from tests.browser.targets import new_name, open_target, still, watch
from tests.running import Tocsin


def test_a_child_says_because_of_what_it_is_down(page: Page, installation: Tocsin, service: Service) -> None:
    parent = watch(installation, service.address, name=new_name("gateway"))
    child = watch(installation, service.address, depends_on=[parent["id"]])
    service.stop()

    def both_down() -> bool:
        return all(installation.get(f"/v1/targets/{one['id']}")["verdict"] == "down" for one in (parent, child))

    installation.wait_until(both_down, what="for both to be down")

    open_target(page, child)
    expect(page.get_by_text("down because of")).to_contain_text(str(parent["name"]))
    page.get_by_role("link", name=str(parent["name"])).first.click()
    expect(page.get_by_role("heading", level=1, name=str(parent["name"]))).to_be_visible()
    expect(page.get_by_text("down because of")).to_have_count(0)

    page.goto("/")
    state = page.get_by_role("region", name="State of everything")
    expect(state).to_contain_text("because of it")
    expect(state.get_by_role("link").filter(has_text=str(child["name"]))).to_contain_text(
        f"because of {parent['name']}"
    )

    page.goto(f"/targets?q={child['name']}")
    expect(page.get_by_role("row").filter(has_text=str(child["name"]))).to_contain_text(f"because of {parent['name']}")


def test_what_it_depends_on_is_chosen_by_name(page: Page, installation: Tocsin) -> None:
    parent, child = still(installation), still(installation)
    page.goto(f"/targets/{child['id']}/edit")
    field = page.get_by_role("combobox", name="Depends on")
    field.fill(str(parent["name"]))
    page.get_by_role("option", name=str(parent["name"]), exact=True).click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1, name=str(child["name"]), exact=True)).to_be_visible()
    assert installation.get(f"/v1/targets/{child['id']}")["depends_on"] == [parent["id"]]
    expect(page.get_by_role("region", name="How it is checked")).to_contain_text(str(parent["name"]))

    # The other way round would be a circle, and the field says so.
    page.goto(f"/targets/{parent['id']}/edit")
    field.fill(str(child["name"]))
    page.get_by_role("option", name=str(child["name"]), exact=True).click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("form", name="Target")).to_contain_text("depends on")
    assert installation.get(f"/v1/targets/{parent['id']}")["depends_on"] == []


def test_places_and_their_quorum_are_changed_in_the_form(page: Page, installation: Tocsin) -> None:
    target = still(installation, locations=["frankfurt", "tokyo", "lima"], quorum="all")
    page.goto(f"/targets/{target['id']}/edit")
    place = page.get_by_role("group", name="Where it is checked from")
    place.get_by_role("combobox", name="Down when it is down from").click()
    page.get_by_role("option", name="a number of them").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1, name=str(target["name"]), exact=True)).to_be_visible()
    saved = installation.get(f"/v1/targets/{target['id']}")
    assert (saved["locations"], saved["quorum"]) == (["frankfurt", "tokyo", "lima"], 2)


def test_each_location_is_a_line_and_narrows_the_history(page: Page, installation: Tocsin, service: Service) -> None:
    target = watch(installation, service.address)
    path = f"/v1/targets/{target['id']}"
    installation.wait_until(lambda: installation.get(path)["verdict"] == "up", what="for it to be up")
    here = next(str(one["name"]) for one in installation.items("/v1/locations") if one["workers"])

    def from_three(route: Route) -> None:
        """One process has one location; how others would look is laid over its answer."""
        seen = route.fetch().json()
        elsewhere = {**seen["location_states"][0], "verdict": "down", "reason": "connection refused"}
        seen["location_states"] += [{**elsewhere, "location": "lima"}, {**elsewhere, "location": "tokyo", "workers": 0}]
        route.fulfill(json=seen)

    page.route(f"**{path}", from_three)
    open_target(page, target)
    panel = page.get_by_role("region", name="Locations")
    expect(panel).to_contain_text("down when more than half find it down")
    expect(panel.get_by_role("listitem")).to_have_count(3)
    expect(panel.get_by_role("listitem").filter(has_text="lima")).to_contain_text("connection refused")
    expect(panel.get_by_role("listitem").filter(has_text="tokyo")).to_contain_text("no worker is there")
    with page.expect_request(f"**{path}/checks?*location={here}*"):
        panel.get_by_role("button", name=f"History from {here}").click()
    expect(page.get_by_role("region", name=f"Checks from {here}")).to_be_visible()
    assert f"location={here}" in page.url


def test_settings_name_the_workers_of_each_location(page: Page, installation: Tocsin) -> None:
    still(installation, locations=["nowhere"])
    page.goto("/settings")
    panel = page.get_by_role("region", name="Locations")
    expect(panel.get_by_role("listitem").filter(has_text="local")).to_contain_text("seen")
    expect(panel.get_by_role("listitem").filter(has_text="nowhere")).to_contain_text("tocsin worker")
