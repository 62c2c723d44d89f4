"""The built web app's files, and what is said when there are none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.api.conftest import Client, fields_of

PAGE = "<!doctype html><title>Tocsin</title><div id=root></div>"


@pytest.fixture
def built(web_dir: Path) -> Path:
    (web_dir / "assets").mkdir(parents=True)
    (web_dir / "index.html").write_text(PAGE)
    (web_dir / "edge.html").write_text("the relay's page")
    (web_dir / "favicon.svg").write_text("<svg/>")
    script = web_dir / "assets" / "index-Bx3kQ9aZ.js"
    script.write_text("console.log(1)")
    script.with_name(f"{script.name}.gz").write_bytes(gzip.compress(b"console.log(1)"))
    (web_dir.parent / "secret.txt").write_text("not yours")
    (web_dir / "link.txt").symlink_to(web_dir.parent / "secret.txt")
    return web_dir


async def test_without_a_build_it_says_how_to_get_one(nobody: Client) -> None:
    answer = await nobody.get("/")
    assert answer.status_code == 200
    assert "make web" in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/edge.html", "/targets", "/targets/17", "/settings/channels?x=1"]
)
async def test_the_page_answers_every_address_of_the_app(nobody: Client, built: Path, path: str) -> None:
    answer = await nobody.get(path)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"


async def test_what_never_changes_is_kept_for_ever(nobody: Client, built: Path) -> None:
    answer = await nobody.get("/assets/index-Bx3kQ9aZ.js", headers={"Accept-Encoding": "identity"})
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-encoding" not in answer.headers
    packed = await nobody.get("/assets/index-Bx3kQ9aZ.js", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.headers["content-type"] == answer.headers["content-type"]
    assert packed.text == answer.text == "console.log(1)"
    icon = await nobody.get("/favicon.svg")
    assert icon.headers["cache-control"] == "public, max-age=3600"
    assert icon.headers["content-type"] == "image/svg+xml"


async def test_an_unchanged_file_is_not_sent_again(nobody: Client, built: Path) -> None:
    first = await nobody.get("/targets")
    again = await nobody.get("/targets", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/assets/../../secret.txt", "/link.txt", "/%00"],
)
async def test_nothing_outside_is_served(nobody: Client, built: Path, path: str) -> None:
    answer = await nobody.get(path)
    assert "not yours" not in answer.text


async def test_a_file_that_is_not_there_is_not_the_page(nobody: Client, built: Path) -> None:
    answer = await nobody.get("/assets/old-Bx3kQ9aZ.js")
    assert answer.status_code == 404
    fields_of(answer)


async def test_the_app_answers_no_change(nobody: Client, built: Path) -> None:
    assert (await nobody.post("/targets")).status_code == 405
    head = await nobody.head("/targets")
    assert (head.status_code, head.text) == (200, "")
