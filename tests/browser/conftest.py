"""A real Chromium before a real Tocsin. Knows how to get both, and what no page may ever do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    StorageState,
    ViewportSize,
    expect,
    sync_playwright,
)

import tocsin
from tests.browser.service import Service
from tests.running import PASSWORD, Tocsin, running

expect.set_options(timeout=20_000)  # a machine under load must not fail a test

WIDE: Final[ViewportSize] = {"width": 1280, "height": 800}
SWITCHES: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BUILT: Final = Path(tocsin.__file__).parent / "web" / "index.html"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("There is no Chromium here. As root: apt-get install chromium")
    assert BUILT.exists(), "The web app is not built. Type: make web"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tocsin]:
    """One Tocsin for the tests of a file that do not stop it; each makes targets of its own."""
    with running(tmp_path_factory.mktemp("browser")) as installation:
        yield installation


@pytest.fixture(scope="module")
def signed_in(browser: Browser, installation: Tocsin) -> StorageState:
    """The cookie of somebody who has signed in once."""
    context = browser.new_context()
    answer = context.request.post(
        f"{installation.address}/v1/session",
        data={"name": "admin", "password": PASSWORD},
        headers={"X-Tocsin-Request": "1"},
    )
    assert answer.ok, answer.text()
    state = context.storage_state()
    context.close()
    return state


class Conduct:
    """What a page did that none may do: speak to strangers, break, or be refused by its own policy."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.faults: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("request", self._requested)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"an error nobody caught: {error}"))
        page.on("dialog", lambda dialog: self.faults.append(f"a dialog: {dialog.message}"))

    def _requested(self, request: Request) -> None:
        if not request.url.startswith((self._address, self._address.replace("http", "ws"), "data:", "blob:")):
            self.faults.append(f"a request to {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Warning:" in message.text:
            self.faults.append(message.text)


def _page(context: BrowserContext, address: str) -> Iterator[Page]:
    page = context.new_page()
    page.set_default_timeout(20_000)
    conduct = Conduct(address)
    conduct.watch(page)
    yield page
    page.unroute_all(behavior="wait")  # a request still being answered would fail in whichever test comes next
    context.close()
    assert conduct.faults == []


@pytest.fixture
def page(browser: Browser, installation: Tocsin, signed_in: StorageState) -> Iterator[Page]:
    """Signed in, at the size of a small laptop."""
    context = browser.new_context(
        base_url=installation.address, storage_state=signed_in, viewport=WIDE, reduced_motion="reduce"
    )
    yield from _page(context, installation.address)


@pytest.fixture
def stranger(browser: Browser, installation: Tocsin) -> Iterator[Page]:
    """Not signed in."""
    context = browser.new_context(base_url=installation.address, viewport=WIDE, reduced_motion="reduce")
    yield from _page(context, installation.address)


@pytest.fixture
def service() -> Iterator[Service]:
    """Something to watch, that can be stopped and started again."""
    service = Service()
    service.start()
    yield service
    service.stop()
