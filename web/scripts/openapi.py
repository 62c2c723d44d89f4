"""Writes web/openapi.json: what the API says of itself, from which `npm run api` makes the app's types."""

import json
from pathlib import Path

from tocsin.api.app import openapi_document

target = Path(__file__).parent.parent / "openapi.json"
target.write_text(json.dumps(openapi_document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
