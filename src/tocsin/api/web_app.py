"""The built web app: files, and its one page for every other address. Knows nothing of what they do.

Its routes exist in the browser only, so an address that is no file and no API gets the page.
"""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from tocsin.api.answers import accepted_encodings, is_current
from tocsin.api.problems import problem

PAGE: Final = "index.html"
_API: Final = ("v1", "ping", "health", "metrics", "ws", "openapi.json", "docs")
# Vite puts a hash of the contents into these names: what is under one never changes.
_HASHED: Final = re.compile(r"[-.][A-Za-z0-9_-]{8,}\.\w+(\.map)?$")
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))

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
        self._directory = directory

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
        if path and path != PAGE and (file := self._file(path)) is not None:
            immutable = path.startswith("assets/") and _HASHED.search(path)
            return _sent(file, request.headers, _FOR_EVER if immutable else "public, max-age=3600")
        if path.startswith("assets/"):
            return problem(404, f"There is nothing at {request.url.path}.")
        page = self._file(PAGE)
        if page is None:
            return HTMLResponse(_NOT_BUILT, 200, {"Cache-Control": "no-store"})
        return _sent(page, request.headers, "no-cache")

    def _file(self, path: str) -> Path | None:
        """A file of the app; nothing outside its directory, whatever ``..`` or link leads there."""
        if "\x00" in path:
            return None
        root = self._directory.resolve()
        try:
            file = (root / path).resolve()
            return file if file.is_relative_to(root) and file.is_file() else None
        except OSError:  # longer than any file's name can be
            return None


def _sent(file: Path, headers: Headers, cache_control: str) -> Response:
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    kept = {"Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    accepted = accepted_encodings(headers)
    for encoding, suffix in _ENCODINGS:
        packed = file.with_name(file.name + suffix)
        if encoding in accepted and packed.is_file():
            kept["Content-Encoding"] = encoding
            file = packed
            break
    response = FileResponse(file, headers=kept, media_type=media_type, stat_result=file.stat())
    etag = response.headers["etag"]
    if is_current(headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=kept | {"ETag": etag})
    return response
