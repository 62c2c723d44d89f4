"""For those who run it: health, metrics, and the reference."""

from __future__ import annotations

import re
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Client, make_target, started
from tests.api.test_targets import checked
from tests.clocks import FakeClock
from tocsin.api.app import create_app
from tocsin.api.context import ApiContext
from tocsin.core.outcome import Result
from tocsin.pipeline import Pipeline
from tocsin.store import certificates
from tocsin.store.certificates import Chain
from tocsin.store.engine import Store


async def test_live_is_just_that(nobody: Client) -> None:
    answer = await nobody.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (await nobody.head("/health/live")).status_code == 200


@pytest.mark.parametrize("state", ["behind", "ahead", "empty"])
async def test_a_schema_of_another_version_is_not_ready(
    nobody: Client, store: Store, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(store, "schema_state", lambda: state)
    answer = await nobody.get("/health/ready")
    assert (answer.status_code, answer.json()["schema_state"]) == (503, state)
    assert answer.json()["detail"]


async def test_metrics_tell_how_every_target_stands(
    outsider: Client, member: Client, pipeline: Pipeline, clock: FakeClock, store: Store
) -> None:
    up, down, new, paused = [await make_target(member, name=name) for name in ("up", "down", "new", "paused")]
    pipeline.write(
        [checked(one["id"], clock.now_ms(), Result.PASSED, latency_us=250_000) for one in (up, paused)]
        + [checked(down["id"], clock.now_ms(), Result.FAILED, "refused", latency_us=None)]
    )
    await member.post(f"/v1/targets/{paused['id']}/pause")
    with store.write() as conn:
        certificates.put_many(conn, [Chain(up["id"], 1, clock.now_ms(), 1_900_000_000_000, [])])
    answer = await outsider.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}

    def values(name: str) -> dict[str, float]:
        return {sample.labels["target"]: sample.value for sample in families[name].samples}

    assert values("tocsin_target_up") == {"up": 1, "down": 0}
    assert values("tocsin_target_latency_seconds") == {"up": 0.25}
    assert values("tocsin_certificate_expiry_timestamp_seconds") == {"up": 1_900_000_000}
    assert families["tocsin_target_up"].samples[0].labels["kind"] == "http"
    assert f'target="{new["slug"]}"' not in answer.text
    assert "tocsin_checks" in families


async def test_metrics_can_be_opened(context: ApiContext) -> None:
    app = create_app(replace(context, metrics_public=True))
    transport = httpx.ASGITransport(app)
    async with started(app), httpx.AsyncClient(transport=transport, base_url="http://tocsin.test") as nobody:
        assert (await nobody.get("/metrics")).status_code == 200
        assert (await nobody.get("/v1/targets")).status_code == 401


async def test_the_reference_names_every_path_and_links_only_to_itself(outsider: Client) -> None:
    document = (await outsider.get("/openapi.json")).json()
    page = (await outsider.get("/docs")).text
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert links
    assert [link for link in links if not link.startswith(("#", "/openapi.json"))] == []
    assert "<script" not in page
