"""Targets over REST: the whole life of one, every field that can be wrong, and lists that stay put."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from tests.api.conftest import HTTP_TARGET, Client, fields_of, make_target
from tests.clocks import FakeClock
from tocsin.api.context import ApiContext
from tocsin.catalog import targets
from tocsin.core.decide import Policy
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import targets as store_targets
from tocsin.store.engine import Store


def checked(target_id: int, at_ms: int, result: Result, reason: str = "", latency_us: int | None = 12_345) -> Entry:
    key = StateKey(Subject(TARGET, target_id), REACHABLE, 1)
    return Entry(Outcome(key, at_ms, result, latency_us, reason, None), Policy(failures_to_down=1))


async def test_a_target_takes_sensible_defaults(member: Client) -> None:
    made = await make_target(member)
    assert made["id"] > 0
    assert made["slug"] == "shop"
    assert (made["interval_s"], made["timeout_s"], made["recheck_s"]) == (60, 10, 5)
    assert (made["failures_to_down"], made["passes_to_up"], made["warnings_to_degraded"]) == (2, 1, 2)
    assert made["verdict"] == "unknown"
    assert made["reason"] == "not checked yet"
    assert made["endpoint"] == "http://127.0.0.1:9/health"
    assert made["last_check_at"] is None
    assert made["created_at"] == "2027-01-15T08:00:00.000Z"
    assert made["ping_url"] is None
    assert (await member.get(f"/v1/targets/{made['id']}")).json() == made


async def test_what_is_left_out_fits_a_short_interval(member: Client) -> None:
    made = await make_target(member, interval_s=3)
    assert (made["timeout_s"], made["recheck_s"]) == (3, 3)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"interval_s": 0}, "interval_s"),
        ({"interval_s": 86_401}, "interval_s"),
        ({"interval_s": "60"}, "interval_s"),
        ({"interval_s": True}, "interval_s"),
        ({"interval_s": 30, "timeout_s": 31}, "timeout_s"),
        ({"interval_s": 30, "recheck_s": 31}, "recheck_s"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "evil\u202egpj.exe"}, "name"),
        ({"name": None}, "name"),
        ({"kind": "gopher"}, "kind"),
        ({"kind": 7}, "kind"),
        ({"tags": ["x" * 61]}, "tags.0"),
        ({"tags": ["ok", ""]}, "tags.1"),
        ({"tags": [f"tag {number}" for number in range(51)]}, "tags"),
        ({"tags": "prod"}, "tags"),
        ({"assert": ["status == 200", "status =="]}, "assert.1"),
        ({"assert": ["nonsense > 3"]}, "assert.0"),
        ({"assert": ["status"]}, "assert.0"),
        ({"failures_to_down": 0}, "failures_to_down"),
        ({"failures_to_down": 11}, "failures_to_down"),
        ({"failures_to_down": 2.0}, "failures_to_down"),
        ({"degraded_above_ms": -1}, "degraded_above_ms"),
        ({"certificate_warning_days": 0}, "certificate_warning_days"),
        ({"colour": "red"}, "colour"),
        ({"intervall_s": 60}, "intervall_s"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "gopher://127.0.0.1:70/"}, "url"),
        ({"url": ""}, "url"),
        ({"headers": {"X-Evil": "a\r\nX-Injected: yes"}}, "headers"),
        ({"headers": {"X-Evil\r\nX-Injected": "yes"}}, "headers"),
        ({"method": "GET / HTTP/1.1\r\n"}, "method"),
        ({"locations": "fra"}, "locations"),
        ({"locations": [7]}, "locations.0"),
        ({"locations": ["fra", " "]}, "locations.1"),
        ({"locations": ["x" * 61]}, "locations.0"),
        ({"locations": ["eu/fra"]}, "locations.0"),
        ({"locations": ["fra\nnyc"]}, "locations.0"),
        ({"locations": [f"place {number}" for number in range(51)]}, "locations"),
        ({"locations": None}, "locations"),
        ({"quorum": "most"}, "quorum"),
        ({"quorum": 0}, "quorum"),
        ({"quorum": 51}, "quorum"),
        ({"quorum": 1.5}, "quorum"),
        ({"quorum": True}, "quorum"),
        ({"quorum": None}, "quorum"),
        ({"locations": ["fra", "nyc"], "quorum": 3}, "quorum"),
        ({"depends_on": 1}, "depends_on"),
        ({"depends_on": ["1"]}, "depends_on.0"),
        ({"depends_on": [0]}, "depends_on.0"),
        ({"depends_on": [2**53 + 1]}, "depends_on.0"),
        ({"depends_on": [2**53]}, "depends_on.0"),
        ({"depends_on": list(range(1, 52))}, "depends_on"),
    ],
)
async def test_what_is_wrong_is_refused_by_name(member: Client, fields: dict[str, Any], wrong: str) -> None:
    answer = await member.post("/v1/targets", json=HTTP_TARGET | fields)
    assert answer.status_code == 422, answer.text
    named = fields_of(answer)
    assert [field for field in named if field == wrong or field.startswith(f"{wrong}.")] == named != []
    assert (await member.get("/v1/targets")).json()["items"] == []


async def test_everything_that_is_wrong_is_said_at_once(member: Client) -> None:
    answer = await member.post("/v1/targets", json={"kind": "http", "interval_s": 0, "colour": "red"})
    assert set(fields_of(answer)) == {"name", "url", "interval_s", "colour"}


async def test_a_broken_expression_is_refused_with_its_place(member: Client) -> None:
    answer = await member.post("/v1/targets", json=HTTP_TARGET | {"assert": ["status == 200 &&\n  nonsense"]})
    (error,) = answer.json()["errors"]
    assert (error["field"], error["line"], error["column"]) == ("assert.0", 2, 3)


async def test_a_mistyped_field_is_met_with_a_suggestion(member: Client) -> None:
    answer = await member.post("/v1/targets", json=HTTP_TARGET | {"intervall_s": 60})
    assert answer.json()["errors"][0]["message"] == "unknown field; did you mean interval_s?"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"shop"', b"null", b"\xff\xfe", b"[" * 5000])
async def test_a_body_that_is_no_object_is_refused(member: Client, body: bytes) -> None:
    answer = await member.post("/v1/targets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    fields_of(answer)


async def test_a_lone_surrogate_is_refused(member: Client) -> None:
    body = b'{"name": "\\ud800", "kind": "http", "url": "http://127.0.0.1/"}'
    answer = await member.post("/v1/targets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_markup_in_a_name_is_text(member: Client) -> None:
    name = "<script>alert(1)</script> & 'co' \"quotes\""
    made = await make_target(member, name=name, description="<b>bold</b>")
    assert made["name"] == name
    assert made["description"] == "<b>bold</b>"
    assert made["slug"] == "script-alert-1-script-co-quotes"


async def test_tags_are_trimmed_and_told_once(member: Client) -> None:
    assert (await make_target(member, tags=[" prod ", "prod", "eu"]))["tags"] == ["prod", "eu"]


async def test_slugs_differ_and_stay(member: Client) -> None:
    names = ["Ångström / Shop!", "angstrom shop", "日本"]
    made = [await make_target(member, name=name) for name in names]
    assert [target["slug"] for target in made] == ["angstrom-shop", "angstrom-shop-2", "target"]
    renamed = await member.patch(f"/v1/targets/{made[1]['id']}", json={"name": "other"})
    assert renamed.json()["slug"] == "angstrom-shop-2"
    await member.delete(f"/v1/targets/{made[0]['id']}")
    assert (await make_target(member, name="Angstrom shop"))["slug"] == "angstrom-shop"


async def test_patch_changes_only_what_it_names(member: Client, clock: FakeClock) -> None:
    made = await make_target(member, tags=["a"], headers={"Accept": "text/html"}, description="why")
    clock.tick(5)
    answer = await member.patch(f"/v1/targets/{made['id']}", json={"interval_s": 300, "headers": {}})
    assert answer.status_code == 200
    expected = made | {"interval_s": 300, "headers": {}, "updated_at": "2027-01-15T08:00:05.000Z"}
    assert answer.json() == expected


async def test_patch_is_checked_as_a_whole(member: Client) -> None:
    made = await make_target(member, interval_s=60, timeout_s=30)
    answer = await member.patch(f"/v1/targets/{made['id']}", json={"interval_s": 20})
    assert answer.status_code == 422
    assert fields_of(answer) == ["timeout_s"]
    answer = await member.patch(f"/v1/targets/{made['id']}", json={"kind": "tcp"})
    assert fields_of(answer) == ["kind"]


async def test_put_gives_what_is_left_out_its_default(member: Client) -> None:
    made = await make_target(member, tags=["a"], interval_s=300, password="hush", username="me")
    answer = await member.put(f"/v1/targets/{made['id']}", json=HTTP_TARGET | {"name": "new"})
    assert answer.status_code == 200
    assert answer.json()["tags"] == []
    assert answer.json()["interval_s"] == 60
    assert answer.json()["secrets_set"] == ["password"]


async def test_secrets_are_never_shown_and_kept_until_cleared(member: Client, store: Store, vault: Vault) -> None:
    made = await make_target(member, username="me", password="hunter2-hunter2")
    path = f"/v1/targets/{made['id']}"

    def sealed() -> dict[str, object]:
        with store.read() as conn:
            row = store_targets.get(conn, made["id"])
        assert row is not None
        assert "hunter2" not in str(row.settings)
        return vault.open(row.secrets) if row.secrets else {}

    assert made["password"] is None
    assert made["secrets_set"] == ["password"]
    for change in ({"interval_s": 120}, {"password": None}, {"name": "other", "password": None}):
        changed = await member.patch(path, json=change)
        assert changed.json()["secrets_set"] == ["password"]
        assert sealed() == {"password": "hunter2-hunter2"}
    await member.patch(path, json={"password": "another"})
    assert sealed() == {"password": "another"}
    cleared = await member.patch(path, json={"password": ""})
    assert cleared.json()["secrets_set"] == []
    assert sealed() == {}
    everything = (await member.get("/v1/targets?expand=summary")).text + (await member.get(path)).text
    assert "hunter2" not in everything


ELSEWHERE: list[dict[str, Any]] = [
    {"url": "http://127.0.0.2:9/health"},
    {"url": "http://127.0.0.1:10/health"},
    {"url": "https://127.0.0.1:9/health"},
    {"url": "http://localhost:9/health"},
    {"proxy": "http://127.0.0.1:3128"},
    {"verify_tls": False},
]


@pytest.mark.parametrize("change", ELSEWHERE)
async def test_no_secret_is_sent_to_whom_it_was_not_given_for(
    member: Client, change: dict[str, Any], store: Store, vault: Vault
) -> None:
    """Who may change targets may use what is stored, not read it."""
    made = await make_target(member, username="me", password="hunter2-hunter2")
    path = f"/v1/targets/{made['id']}"
    whole = HTTP_TARGET | {"username": "me"}
    for answer in (
        await member.patch(path, json=change),
        await member.patch(path, json=change | {"password": None}),
        await member.put(path, json=whole | change),
        await member.post("/v1/targets/test", json={"id": made["id"]} | change),
    ):
        assert answer.status_code == 422
        assert fields_of(answer) == ["password"]
        assert "give it again" in answer.json()["detail"]
        assert next(iter(change)) in answer.json()["detail"]
    assert (await member.get(path)).json()["url"] == made["url"]

    with_it = await member.patch(path, json=change | {"password": "given again"})
    assert with_it.status_code == 200
    with store.read() as conn:
        row = targets.get(conn, made["id"])
    assert row.secrets is not None
    assert vault.open(row.secrets) == {"password": "given again"}


async def test_a_secret_may_be_given_up_to_go_elsewhere(member: Client) -> None:
    made = await make_target(member, username="me", password="hush")
    change = {"url": "http://127.0.0.2:9/", "username": "", "password": ""}
    answer = await member.patch(f"/v1/targets/{made['id']}", json=change)
    assert answer.status_code == 200
    assert answer.json()["secrets_set"] == []


async def test_a_secret_stays_where_it_goes_to_the_same_place(member: Client) -> None:
    made = await make_target(member, username="me", password="hush", verify_tls=False, proxy="http://127.0.0.1:3128")
    path = f"/v1/targets/{made['id']}"
    for change in ({"url": "http://127.0.0.1:9/other?x=1"}, {"verify_tls": True}, {"proxy": ""}, {"username": "you"}):
        answer = await member.patch(path, json=change)
        assert answer.status_code == 200, answer.text
        assert answer.json()["secrets_set"] == ["password"]


async def test_secrets_sealed_with_a_lost_key_can_be_given_again(
    member: Client, context: ApiContext, app: FastAPI
) -> None:
    made = await make_target(member, username="me", password="hush")
    app.state.context = replace(context, vault=Vault("another key, the old one is lost"))
    path = f"/v1/targets/{made['id']}"
    unreadable = await member.patch(path, json={"interval_s": 300})
    assert unreadable.status_code == 500
    assert "enter the secret again" in unreadable.json()["detail"]
    repaired = await member.patch(path, json={"password": "given again"})
    assert repaired.status_code == 200
    assert repaired.json()["secrets_set"] == ["password"]


async def test_a_problem_never_repeats_a_secret(member: Client) -> None:
    answer = await member.post("/v1/targets", json=HTTP_TARGET | {"password": ["hunter2"]})
    assert fields_of(answer) == ["password"]
    assert "hunter2" not in answer.text


async def test_pausing_keeps_history_and_goes_unknown(
    member: Client, pipeline: Pipeline, clock: FakeClock, store: Store
) -> None:
    made = await make_target(member)
    path = f"/v1/targets/{made['id']}"
    pipeline.write([checked(made["id"], clock.now_ms(), Result.PASSED)])
    assert (await member.get(path)).json()["verdict"] == "up"
    clock.tick(60)
    paused = (await member.post(f"{path}/pause")).json()
    assert (paused["enabled"], paused["paused"], paused["verdict"]) == (False, True, "unknown")
    assert paused["reason"] == "paused"
    # A check that was under way when it was paused.
    pipeline.write([checked(made["id"], clock.now_ms() + 500, Result.FAILED, "refused")])
    assert (await member.get(path)).json()["verdict"] == "unknown"
    clock.tick(60)
    resumed = (await member.post(f"{path}/resume")).json()
    assert (resumed["enabled"], resumed["verdict"]) == (True, "unknown")
    pipeline.write([checked(made["id"], clock.now_ms() + 1000, Result.FAILED, "refused")])
    assert (await member.get(path)).json()["verdict"] == "down"
    changes = (await member.get(f"{path}/transitions")).json()["items"]
    assert [(change["from"], change["to"]) for change in changes] == [
        ("unknown", "down"),
        ("up", "unknown"),
        ("unknown", "up"),
    ]


async def test_the_switch_pauses_too(member: Client, pipeline: Pipeline, clock: FakeClock) -> None:
    made = await make_target(member)
    pipeline.write([checked(made["id"], clock.now_ms(), Result.PASSED)])
    clock.tick(1)
    off = (await member.patch(f"/v1/targets/{made['id']}", json={"enabled": False})).json()
    assert (off["verdict"], off["reason"]) == ("unknown", "paused")
    again = (await member.post(f"/v1/targets/{made['id']}/pause")).json()
    assert again == off


async def test_a_copy_has_its_own_name_and_the_same_secrets(member: Client, store: Store, vault: Vault) -> None:
    made = await make_target(member, username="me", password="hush", tags=["a"])
    answer = await member.post(f"/v1/targets/{made['id']}/clone")
    assert answer.status_code == 201
    copy = answer.json()
    assert (copy["name"], copy["slug"], copy["tags"]) == ("shop (copy)", "shop-copy", ["a"])
    with store.read() as conn:
        row = store_targets.get(conn, copy["id"])
    assert row is not None
    assert row.secrets is not None
    assert vault.open(row.secrets) == {"password": "hush"}
    named = await member.post(f"/v1/targets/{made['id']}/clone", json={"name": "second"})
    assert named.json()["name"] == "second"


async def test_a_deleted_target_is_gone_everywhere(member: Client) -> None:
    made = await make_target(member)
    path = f"/v1/targets/{made['id']}"
    assert (await member.delete(path)).status_code == 204
    for answer in (
        await member.get(path),
        await member.patch(path, json={"interval_s": 5}),
        await member.put(path, json=HTTP_TARGET),
        await member.delete(path),
        await member.post(f"{path}/pause"),
        await member.post(f"{path}/clone"),
        await member.get(f"{path}/checks"),
        await member.get(f"{path}/summary"),
        await member.get(f"{path}/latency"),
        await member.get(f"{path}/transitions"),
        await member.get(f"{path}/pings"),
        await member.post("/v1/targets/test", json={"id": made["id"]}),
    ):
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"There is no target {made['id']}."
    assert (await member.get("/v1/targets")).json()["items"] == []


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────


async def walk(client: Client, path: str, **params: Any) -> list[dict[str, Any]]:
    """Every item, page by page."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = (await client.get(path, params=params | ({"cursor": cursor} if cursor else {}))).json()
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


@pytest.mark.parametrize("sort", ["name", "-name", "created", "-created", "verdict", "latency", "-latency"])
async def test_pages_hold_everything_once_in_order(
    member: Client, pipeline: Pipeline, clock: FakeClock, sort: str
) -> None:
    for number, name in enumerate(["b", "a", "B", "c", "a", "d", "e"]):
        made = await make_target(member, name=name)
        clock.tick(1)
        if number % 3:
            result = Result.FAILED if number % 2 else Result.PASSED
            pipeline.write([checked(made["id"], clock.now_ms(), result, latency_us=number * 1000)])
    whole = (await member.get("/v1/targets", params={"sort": sort})).json()["items"]
    paged = await walk(member, "/v1/targets", sort=sort, limit=2)
    assert paged == whole
    assert len({target["id"] for target in paged}) == 7


async def test_the_worst_come_first(member: Client, pipeline: Pipeline, clock: FakeClock) -> None:
    up, down, _new, paused = [await make_target(member, name=name) for name in ("up", "down", "new", "paused")]
    pipeline.write(
        [
            checked(up["id"], clock.now_ms(), Result.PASSED),
            checked(down["id"], clock.now_ms(), Result.FAILED, "refused"),
            checked(paused["id"], clock.now_ms(), Result.FAILED, "refused"),
        ]
    )
    clock.tick(1)
    await member.post(f"/v1/targets/{paused['id']}/pause")
    listed = (await member.get("/v1/targets?sort=verdict")).json()["items"]
    assert [target["name"] for target in listed] == ["down", "new", "up", "paused"]


async def test_pages_stay_put_while_rows_come_and_go(member: Client) -> None:
    for name in ("b", "d", "f", "h"):
        await make_target(member, name=name)
    first = (await member.get("/v1/targets?limit=2")).json()
    assert [target["name"] for target in first["items"]] == ["b", "d"]
    await make_target(member, name="a")
    await make_target(member, name="e")
    await member.delete(f"/v1/targets/{first['items'][1]['id']}")
    rest = (await member.get("/v1/targets", params={"limit": 10, "cursor": first["next"]})).json()
    assert [target["name"] for target in rest["items"]] == ["e", "f", "h"]
    assert rest["next"] is None


async def test_filters(member: Client, pipeline: Pipeline, clock: FakeClock) -> None:
    shop = await make_target(member, name="Shop", tags=["prod", "50%"], group="web")
    database = {"name": "db", "kind": "tcp", "host": "127.0.0.1", "port": 5432, "tags": ["prod"]}
    assert (await member.post("/v1/targets", json=database)).status_code == 201
    other = await make_target(member, name="other", url="http://127.0.0.1/deep/path", enabled=False, group="web")
    pipeline.write([checked(shop["id"], clock.now_ms(), Result.FAILED, "refused")])

    async def names(**params: Any) -> list[str]:
        return [target["name"] for target in (await member.get("/v1/targets", params=params)).json()["items"]]

    assert await names(tag="prod") == ["db", "Shop"]
    assert await names(tag="50%") == ["Shop"]
    assert await names(tag="pro") == []
    assert await names(group="web") == ["other", "Shop"]
    assert await names(kind="tcp") == ["db"]
    assert await names(verdict="down") == ["Shop"]
    assert await names(verdict="unknown") == ["db", "other"]
    assert await names(enabled="false") == [other["name"]]
    assert await names(q="SHOP") == ["Shop"]
    assert await names(q="deep/path") == ["other"]
    assert await names(q="%") == ["Shop"]
    assert await names(q="_") == []
    assert await names(q="5432") == ["db"]
    assert await names(q="PRO") == ["db", "Shop"]
    assert await names(q="web", tag="prod") == ["Shop"]
    assert (await member.get("/v1/tags")).json()["items"] == [
        {"name": "50%", "targets": 1},
        {"name": "prod", "targets": 2},
    ]
    assert (await member.get("/v1/groups")).json()["items"] == [{"name": "web", "targets": 2}]


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "bm9uc2Vuc2U"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"sort": "colour"}, "sort"),
        ({"verdict": "sideways"}, "verdict"),
        ({"enabled": "perhaps"}, "enabled"),
        ({"expand": "everything"}, "expand"),
        ({"expand": "summary,"}, "expand"),
        ({"location": "mars"}, "location"),
        ({"location": "a\x00b"}, "location"),
        ({"because_of": "0"}, "because_of"),
        ({"because_of": "router"}, "because_of"),
        ({"q": "a\x00b"}, "q"),
    ],
)
async def test_wrong_parameters_are_refused_by_name(member: Client, params: dict[str, str], wrong: str) -> None:
    answer = await member.get("/v1/targets", params=params)
    assert answer.status_code == 400
    assert fields_of(answer) == [wrong]


async def test_a_cursor_of_another_order_is_refused(member: Client) -> None:
    for name in ("a", "b"):
        await make_target(member, name=name)
    cursor = (await member.get("/v1/targets?limit=1&sort=name")).json()["next"]
    answer = await member.get("/v1/targets", params={"sort": "created", "cursor": cursor})
    assert answer.status_code == 400
    assert fields_of(answer) == ["cursor"]


@pytest.mark.parametrize("target_id", ["0", "-1", "abc", "99999999999999999999"])
async def test_an_impossible_number_is_no_target(member: Client, target_id: str) -> None:
    answer = await member.get(f"/v1/targets/{target_id}")
    assert answer.status_code == 400
    assert fields_of(answer) == ["target_id"]


async def test_an_unchanged_list_is_not_sent_again(member: Client) -> None:
    made = await make_target(member)
    first = await member.get("/v1/targets?expand=summary")
    tag = first.headers["etag"]
    for given in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = await member.get("/v1/targets?expand=summary", headers={"If-None-Match": given})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tag
    assert (await member.patch(f"/v1/targets/{made['id']}", json={"interval_s": 300})).status_code == 200
    changed = await member.get("/v1/targets?expand=summary", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


async def test_a_long_answer_is_compressed_for_who_can_take_it(member: Client) -> None:
    for number in range(10):
        await make_target(member, name=f"target {number}")
    plain = await member.get("/v1/targets", headers={"Accept-Encoding": "gzip;q=0, identity"})
    packed = await member.get("/v1/targets", headers={"Accept-Encoding": "br, gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 5
    assert packed.json() == plain.json()
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in packed.headers["vary"]
    again = await member.get(
        "/v1/targets", headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}
    )
    assert again.status_code == 304


async def test_a_summary_of_nothing_says_no_data(member: Client) -> None:
    await make_target(member)
    (target,) = (await member.get("/v1/targets?expand=summary")).json()["items"]
    summary = target["summary"]
    assert summary["uptime_24h"] is None
    assert summary["p95_ms_24h"] is None
    assert len(summary["bar"]) == 24
    assert {cell["verdict"] for cell in summary["bar"]} == {None}
