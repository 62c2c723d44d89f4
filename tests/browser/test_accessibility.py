"""axe finds nothing serious on any page, in either theme, wide or on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, StorageState

from tests.browser.axe import violations
from tests.browser.service import Service
from tests.browser.targets import new_name, watch
from tests.running import Tocsin


@pytest.fixture(scope="module")
def furnished(installation: Tocsin) -> Iterator[dict[str, object]]:
    """One of everything, so that no page is empty; gives a target that is down, with evidence."""
    service = Service()
    service.start()
    # First: a channel is told only what happens once it is there.
    installation.post("/v1/channels", {"name": new_name("hook"), "kind": "webhook", "url": f"{service.address}/hook"})
    down = watch(installation, f"{service.address}/status/500", tags=["prod"], group="Shop", description="Notes")
    slow = watch(installation, service.address, degraded_above_ms=0.001, warnings_to_degraded=1)
    beat = installation.post("/v1/targets", {"name": new_name("job"), "kind": "heartbeat", "period_s": 60})
    installation.wait_until(
        lambda: installation.get(f"/v1/targets/{down['id']}")["verdict"] == "down", what="for it to be down"
    )
    installation.wait_until(lambda: installation.items("/v1/notifications"), what="for a message")
    made = (down, slow, beat)
    yield {"down": down["id"], "beat": beat["id"]}
    for target in made:
        installation.request("DELETE", f"/v1/targets/{target['id']}")
    service.stop()


def _press(role: Literal["button", "link"], name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role(role, name=name).first.click()


def _unfold(page: Page) -> None:
    page.get_by_role("button", name="Add an assertion").click()
    for summary in page.locator("form details > summary").all():
        summary.click()


def _search(page: Page) -> None:
    page.keyboard.press("/")
    page.get_by_role("option").first.wait_for()


VIEWS: dict[str, tuple[str, Callable[[Page], None] | None]] = {
    "overview": ("/", None),
    "targets": ("/targets?by=group", None),
    "no match": ("/targets?q=nothing-is-called-this", None),
    "target": ("/targets/{down}?window=1h", None),
    "table": ("/targets/{down}", _press("button", "Show as a table")),
    "evidence": ("/targets/{down}", _press("link", "evidence")),
    "heartbeat": ("/targets/{beat}", None),
    "add": ("/targets/new", _unfold),
    "edit": ("/targets/{down}/edit", _unfold),
    "machines": ("/machines", None),
    "add a machine": ("/machines/new", None),
    "channels": ("/alerting/channels", None),
    "new channel": ("/alerting/channels", _press("button", "Add a channel")),
    "rules": ("/alerting/rules", None),
    "rule": ("/alerting/rules", _press("button", "Edit")),
    "deliveries": ("/alerting/deliveries", lambda page: page.locator("summary").first.click()),
    "settings": ("/settings", None),
    "search": ("/", _search),
    "help": ("/", lambda page: page.keyboard.press("?")),
    "nowhere": ("/no-such-page", None),
}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_nothing_serious_on_any_page(
    browser: Browser,
    installation: Tocsin,
    signed_in: StorageState,
    furnished: dict[str, object],
    scheme: Literal["light", "dark"],
    width: int,
) -> None:
    context = browser.new_context(
        base_url=installation.address,
        storage_state=signed_in,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    found: list[str] = []
    for name, (path, act) in VIEWS.items():
        page.goto(path.format(**furnished))
        page.locator("main").wait_for()
        page.wait_for_load_state("networkidle")
        if act is not None:
            act(page)
            page.wait_for_load_state("networkidle")
        found += [f"{name}: {violation}" for violation in violations(page)]
    context.close()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_at_the_door(stranger: Page, scheme: Literal["light", "dark"]) -> None:
    stranger.emulate_media(color_scheme=scheme)
    stranger.goto("/")
    stranger.get_by_role("button", name="Sign in").wait_for()
    assert violations(stranger) == []
