"""Writes web/openapi.json: what the API says of itself, from which `npm run api` makes the app's types.

Knows only where the document comes from and where it goes.
"""

import json
from pathlib import Path

from tocsin.api.app import openapi_document


def written() -> str:
    """The document as it is kept: sorted, so that a change of it reads well in a diff."""
    return json.dumps(openapi_document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent.parent / "openapi.json").write_text(written(), "utf-8")
