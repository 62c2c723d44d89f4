"""Files of a built web app, as a web server gives them: packed where the caller takes that, and only once. Knows no
route and no page.
"""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response

# Vite puts a hash of the contents into these names: what is under one never changes.
_HASHED: Final = re.compile(r"^assets/.*[-.][A-Za-z0-9_-]{8,}\.\w+(\.map)?$")
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_AN_HOUR: Final = "public, max-age=3600"
_ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))


class StaticFiles:
    """What is in ``directory``, looked at anew each time, so that a build needs no restart."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, path: str) -> Path | None:
        """The file at ``path``; nothing outside the directory, whatever ``..`` or link leads there."""
        if "\x00" in path:
            return None
        root = self._directory.resolve()
        try:
            file = (root / path).resolve()
            return file if file.is_relative_to(root) and file.is_file() else None
        except OSError:  # longer than any file's name can be
            return None


def kept_for(path: str) -> str:
    """The ``Cache-Control`` of what is no page."""
    return _FOR_EVER if _HASHED.search(path) else _AN_HOUR


def sent(file: Path, headers: Headers, cache_control: str) -> Response:
    """The answer to a request with these headers."""
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


def accepted_encodings(headers: Headers) -> set[str]:
    """The content codings a caller takes; one with ``q=0`` is refused."""
    accepted = set()
    for part in headers.get("accept-encoding", "").split(","):
        coding, _, weight = part.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            accepted.add(coding.strip().lower())
    return accepted


_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_current(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller has it already: any of a list, compared weakly; ``*`` is anything (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)
