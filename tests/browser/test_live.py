"""The live connection: says when it is not live, and catches up when it is again."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.running import PASSWORD, running


def test_a_lost_server_is_said_and_found_again(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path) as installation:
        context = browser.new_context(base_url=installation.address, viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto("/targets")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.keyboard.press("Enter")
        sign = page.get_by_role("button", name="Live updates")
        expect(sign).to_contain_text("live", timeout=20_000)

        installation.kill()
        expect(sign).to_contain_text("reconnecting", timeout=20_000)
        # What was known stays on the screen.
        expect(page.get_by_role("link", name="Tocsin", exact=True).last).to_be_visible()

        installation.start()
        expect(sign).to_contain_text("live", timeout=30_000)
        sign.click()
        expect(sign).to_contain_text("paused")
        sign.click()
        expect(sign).to_contain_text("live", timeout=20_000)
        context.close()
