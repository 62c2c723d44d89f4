"""Forms: what is wrong is said at the field, a test shows everything, and nothing needs a mouse."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.service import Service
from tests.browser.targets import new_name, open_target, still
from tests.running import Tocsin


def test_what_is_wrong_is_said_at_its_field(page: Page) -> None:
    page.goto("/targets/new")
    page.get_by_role("button", name="Watch it").click()
    expect(page.get_by_text("is needed")).to_be_visible()

    page.get_by_role("textbox", name="URL").fill("https://shop.example")
    page.get_by_label("Check every, seconds").fill("0")
    expect(page.get_by_text("must be at least 1")).to_be_visible()
    page.get_by_label("Check every, seconds").fill("20")
    page.get_by_label("Timeout, seconds").fill("30")
    expect(page.get_by_text("must be at most the interval, 20")).to_be_visible()


def test_what_only_the_server_knows_is_said_at_its_field_too(page: Page) -> None:
    page.goto("/targets/new")
    field = page.get_by_role("textbox", name="URL")
    field.fill("file:///etc/passwd")
    page.get_by_role("button", name="Watch it").click()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("must start with http:// or https://")).to_be_visible()
    field.fill("https://shop.example")
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_an_expression_is_checked_while_it_is_typed(page: Page) -> None:
    page.goto("/targets/new")
    page.get_by_role("button", name="Add an assertion").click()
    line = page.get_by_role("textbox", name="Assertion 1")
    line.fill("status === 200")
    expect(line).to_have_attribute("aria-invalid", "true")
    expect(page.locator("mark")).to_be_visible()
    line.fill("status == 200 && json.ok")
    expect(line).not_to_have_attribute("aria-invalid", "true")
    line.fill("stratus == 200")
    expect(line).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("stratus").last).to_be_visible()


def test_a_test_shows_everything_and_stores_nothing(page: Page, installation: Tocsin, service: Service) -> None:
    before = len(installation.items("/v1/targets"))
    page.goto("/targets/new")
    page.get_by_role("textbox", name="URL").fill(f"{service.address}/status/418")
    page.get_by_role("button", name="Test", exact=True).click()
    panel = page.get_by_role("complementary", name="Test")
    expect(panel).to_contain_text("failed in")
    expect(panel).to_contain_text("127.0.0.1")
    expect(panel).to_contain_text("first byte")
    expect(panel).to_contain_text("status was 418")
    expect(panel).to_contain_text("<h1>The database is gone</h1>")
    assert len(installation.items("/v1/targets")) == before


def test_a_target_is_added_without_a_mouse(page: Page, service: Service) -> None:
    page.goto("/")
    page.get_by_role("region", name="State of everything").wait_for()
    page.keyboard.press("n")
    expect(page.get_by_role("textbox", name="URL")).to_be_focused()
    page.keyboard.insert_text(service.address)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=service.address.removeprefix("http://"), level=1)).to_be_visible()

    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="Targets", level=1)).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("combobox", name="Search targets, machines and pages")).to_be_focused()
    page.keyboard.type("settings")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Settings", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_rows_are_walked_with_j_and_k(page: Page, installation: Tocsin) -> None:
    tag = new_name("tag")
    # The list counts: 9 stands before 10.
    names = [str(still(installation, tags=[tag])["name"]) for _ in range(3)]
    page.goto(f"/targets?tag={tag}&sort=name")
    page.get_by_role("link", name=names[0]).focus()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name=names[2])).to_be_focused()
    page.keyboard.press("k")
    expect(page.get_by_role("link", name=names[1])).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=names[1], level=1)).to_be_visible()


def test_pasting_something_else_than_a_url_chooses_its_kind(page: Page, service: Service) -> None:
    page.goto("/targets/new")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", "127.0.0.1:5432")
    page.get_by_role("textbox", name="URL").focus()
    page.keyboard.press("Control+V")
    expect(page.get_by_role("radio", name=re.compile("^TCP"))).to_be_checked()
    expect(page.get_by_label("Host", exact=True)).to_have_value("127.0.0.1")
    expect(page.get_by_label("Port", exact=True)).to_have_value("5432")


def test_changing_sends_only_what_was_changed_and_keeps_secrets(page: Page, installation: Tocsin) -> None:
    target = still(installation, username="me", password="secret", tags=["kept"])
    open_target(page, target)
    page.get_by_role("link", name="Edit").first.click()
    page.get_by_role("textbox", name="Name").fill(f"{target['name']} renamed")
    with page.expect_request("**/v1/targets/*") as sent:
        page.get_by_role("button", name="Save").click()
    assert sent.value.method == "PATCH"
    assert sent.value.post_data_json == {"name": f"{target['name']} renamed"}
    expect(page.get_by_role("heading", name=f"{target['name']} renamed", level=1)).to_be_visible()
    assert installation.get(f"/v1/targets/{target['id']}")["secrets_set"] == ["password"]


def test_a_key_is_shown_once(page: Page, installation: Tocsin) -> None:
    page.goto("/settings")
    name = new_name("key")
    form = page.get_by_role("form", name="New key")
    form.get_by_role("textbox", name="Name").fill(name)
    form.get_by_role("button", name="Make a key").click()
    expect(page.get_by_text(re.compile("^tcs_"))).to_be_visible()
    page.reload()
    expect(page.get_by_text(name)).to_be_visible()
    expect(page.get_by_text(re.compile("^tcs_"))).to_have_count(0)


def test_a_channel_is_made_and_tested_before_it_is_saved(page: Page, service: Service) -> None:
    page.goto("/alerting/channels")
    page.get_by_role("button", name="Add a channel").click()
    form = page.get_by_role("form", name="Channel")
    form.get_by_role("combobox", name="Kind").click()
    page.get_by_role("option", name="Webhook").click()
    name = new_name("hook")
    form.get_by_role("textbox", name="Name").fill(name)
    form.get_by_role("textbox", name="URL").fill("http://127.0.0.1:9/")
    form.get_by_role("button", name="Send a test").click()
    expect(form.get_by_text("was not taken")).to_be_visible()
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_text(name, exact=True)).to_be_visible()
