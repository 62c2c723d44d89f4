"""The built web app: files, and its one page for every other address. Knows nothing of what they do.

Its routes exist in the browser only, so an address that is no file and no API gets the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from tocsin.api.problems import problem
from tocsin.lib.static_files import StaticFiles, kept_for, sent

PAGE: Final = "index.html"
_API: Final = ("v1", "ping", "health", "metrics", "ws", "openapi.json", "docs")

_NOT_BUILT: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tocsin</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:38rem;margin:4rem auto;padding:0 1rem}</style>
<h1>The web app is not built</h1>
<p>Tocsin is running and watching, and its API answers at <code>/v1</code>; only the pages are missing.</p>
<p>In a checkout, with Node.js installed, type <code>make web</code> and reload this page.</p>
</html>
"""


class WebApp:
    """Answers what no route of the API does. ``directory`` is looked at anew each time, so a build needs no restart."""

    def __init__(self, directory: Path) -> None:
        self._files = StaticFiles(directory)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # A WebSocket to nowhere.
            await send({"type": "websocket.close", "code": 1000})
            return
        response = await run_in_threadpool(self._answer, Request(scope))
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        path = request.url.path.lstrip("/")
        if path.split("/", 1)[0] in _API:
            return problem(404, f"There is nothing at {request.url.path}.")
        if request.method not in ("GET", "HEAD"):
            detail = f"{request.method} is not possible at {request.url.path}."
            return problem(405, detail, headers={"Allow": "GET, HEAD"})
        # Another page that was built is the relay's, and of no use here.
        if path and not path.endswith(".html") and (file := self._files.find(path)) is not None:
            return sent(file, request.headers, kept_for(path))
        if path.startswith("assets/"):
            return problem(404, f"There is nothing at {request.url.path}.")
        page = self._files.find(PAGE)
        if page is None:
            return HTMLResponse(_NOT_BUILT, 200, {"Cache-Control": "no-store"})
        return sent(page, request.headers, "no-cache")
