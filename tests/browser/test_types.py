"""The web app's types are made from what the API says of itself, and are made again when that changes."""

from __future__ import annotations

import json
from pathlib import Path

from tocsin.api.app import openapi_document

KEPT = Path(__file__).parents[2] / "web" / "openapi.json"


def test_the_kept_document_is_what_the_api_says() -> None:
    assert json.loads(KEPT.read_text("utf-8")) == openapi_document(), "Type: npm --prefix web run api"
