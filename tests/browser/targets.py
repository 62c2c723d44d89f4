"""Targets for tests of the web app, made over REST. Knows no page."""

from __future__ import annotations

from itertools import count

from playwright.sync_api import Page

from tests.running import Tocsin

_numbers = count(1)


def new_name(word: str) -> str:
    """A name no other test uses: they share one installation."""
    return f"{word}-{next(_numbers)}"


def watch(installation: Tocsin, url: str, **fields: object) -> dict[str, object]:
    """An HTTP target that is looked at every second and believed at once."""
    return installation.post(
        "/v1/targets",
        {
            "name": new_name("service"),
            "kind": "http",
            "url": url,
            "interval_s": 1,
            "timeout_s": 1,
            "recheck_s": 1,
            "failures_to_down": 1,
            **fields,
        },
    )


def still(installation: Tocsin, **fields: object) -> dict[str, object]:
    """A target nobody probes."""
    return watch(installation, "http://127.0.0.1:9/", enabled=False, **fields)


def open_target(page: Page, target: dict[str, object]) -> None:
    page.goto(f"/targets/{target['id']}")
    page.get_by_role("heading", name=str(target["name"]), exact=True, level=1).wait_for()
