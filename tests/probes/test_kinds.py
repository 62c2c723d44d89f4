"""What holds for every row of the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tocsin.lib.expressions import compile_condition
from tocsin.probes import PROBES

DOCS = Path(__file__).parent.parent.parent / "docs" / "probes"

MINIMAL: dict[str, dict[str, object]] = {
    "http": {"url": "http://a.example/"},
    "tcp": {"host": "a.example", "port": 22},
    "icmp": {"host": "a.example"},
    "dns": {"host": "a.example"},
    "tls": {"host": "a.example"},
    "heartbeat": {"period_s": 60},
}


def test_every_kind_is_known_here() -> None:
    assert MINIMAL.keys() == PROBES.keys()
    assert [row.kind for row in PROBES.values()] == list(PROBES)


@pytest.mark.parametrize("kind", PROBES)
def test_default_assertions_compile(kind: str) -> None:
    for source in PROBES[kind].default_assertions:
        compile_condition(source, PROBES[kind].variables)


@pytest.mark.parametrize("kind", PROBES)
def test_settings_survive_json_strictly(kind: str) -> None:
    """Targets arrive as JSON and are checked strictly; what was stored must be accepted again."""
    model = PROBES[kind].settings
    settings = model.model_validate_json(json.dumps(MINIMAL[kind]), strict=True)
    kept = settings.model_dump(mode="json")
    secrets = [name for name, value in kept.items() if value == "**********"]
    assert model.model_validate_json(json.dumps(kept), strict=True) == settings
    assert secrets == []
    assert PROBES[kind].endpoint(settings)


@pytest.mark.parametrize("kind", PROBES)
def test_every_field_is_described_for_forms(kind: str) -> None:
    properties = PROBES[kind].settings.model_json_schema()["properties"]
    assert [name for name, field in properties.items() if not field.get("description")] == []


@pytest.mark.parametrize("kind", PROBES)
def test_every_field_and_variable_is_documented(kind: str) -> None:
    page = (DOCS / f"{kind}.md").read_text("utf-8")
    names = [*PROBES[kind].settings.model_fields, *PROBES[kind].variables, *PROBES[kind].default_assertions]
    assert [name for name in names if f"`{name}`" not in page] == []
