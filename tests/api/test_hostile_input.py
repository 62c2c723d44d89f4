"""What no honest client sends: numbers without end, characters no database keeps, cursors made by hand. Each is a
problem that names its field, on every engine alike, because none of it gets as far as an engine."""

from __future__ import annotations

import base64
import json

import pytest

from tests.api.conftest import HTTP_TARGET, Client, fields_of, make_target

LARGEST_BIGINT = 2**63 - 1


def sealed(position: object) -> str:
    """A cursor as only we should make one."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_what_is_no_number_is_refused_and_not_taken_for_null(member: Client, number: str) -> None:
    body = json.dumps(HTTP_TARGET)[:-1] + f', "degraded_above_ms": {number}}}'
    answer = await member.post("/v1/targets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert fields_of(answer) == ["degraded_above_ms"]


async def test_a_number_larger_than_any_is_refused_by_name(member: Client) -> None:
    answer = await member.post("/v1/targets", json=HTTP_TARGET | {"failures_to_down": 10**300, "interval_s": 10**300})
    assert answer.status_code == 422
    assert sorted(fields_of(answer)) == ["failures_to_down", "interval_s"]


async def test_half_a_character_is_refused_by_name(member: Client) -> None:
    body = json.dumps(HTTP_TARGET | {"description": "\ud800", "headers": {"X-A": "\udfff"}})
    answer = await member.post("/v1/targets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert sorted(fields_of(answer)) == ["description", "headers"]


async def test_half_a_character_in_a_field_name_is_refused(member: Client) -> None:
    body = json.dumps(HTTP_TARGET | {"\ud800": 1})
    answer = await member.post("/v1/targets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert fields_of(answer) == ["?"]


async def test_nesting_without_end_is_refused(member: Client) -> None:
    deep: object = "x"
    for _ in range(500):
        deep = [deep]
    answer = await member.post("/v1/targets", json=HTTP_TARGET | {"headers": deep})
    assert answer.status_code == 422
    answer = await member.post("/v1/targets", content="[" * 100_000, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "position",
    [
        ["name", "\0", 1],
        ["name", "\ud800", 1],
        ["name", "a", LARGEST_BIGINT + 1],
        ["name", "a", 2**70],
        ["name", 1, 1],
        ["name", None, 1],
        {"name": 1},
    ],
)
async def test_a_cursor_made_by_hand_is_refused(member: Client, position: object) -> None:
    answer = await member.get("/v1/targets", params={"cursor": sealed(position)})
    assert answer.status_code == 400
    assert fields_of(answer) == ["cursor"]


@pytest.mark.parametrize("path", ["checks", "transitions", "pings"])
@pytest.mark.parametrize("position", [[LARGEST_BIGINT + 1, 1], [1, -LARGEST_BIGINT - 2], [2**70, 2**70]])
async def test_a_cursor_of_a_history_made_by_hand_is_refused(member: Client, path: str, position: object) -> None:
    made = await make_target(member)
    answer = await member.get(f"/v1/targets/{made['id']}/{path}", params={"cursor": sealed(position)})
    assert answer.status_code == 400
    assert fields_of(answer) == ["cursor"]


@pytest.mark.parametrize("path", ["/v1/keys", "/v1/notifications"])
async def test_a_cursor_of_numbers_made_by_hand_is_refused(owner: Client, path: str) -> None:
    answer = await owner.get(path, params={"cursor": sealed([LARGEST_BIGINT + 1])})
    assert answer.status_code == 400
    assert fields_of(answer) == ["cursor"]


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_time_at_the_end_of_time_is_refused(member: Client, name: str, moment: str) -> None:
    answer = await member.get("/v1/timeline", params={name: moment})
    assert answer.status_code == 400
    assert fields_of(answer) == [name]


async def test_a_certificate_that_is_no_ascii_is_refused(member: Client) -> None:
    answer = await member.post("/v1/targets", json=HTTP_TARGET | {"ca_certificate": "\u202eab"})
    assert answer.status_code == 422
    assert fields_of(answer) == ["ca_certificate"]


@pytest.mark.parametrize("host", ["a\0b", "a b", "a\nb", "\x1b[31mred"])
async def test_a_name_to_look_up_is_one_word_of_plain_text(member: Client, host: str) -> None:
    answer = await member.post("/v1/targets", json={"name": "names", "kind": "dns", "host": host})
    assert answer.status_code == 422
    assert fields_of(answer) == ["host"]


async def test_a_user_name_no_database_keeps_is_refused(nobody: Client) -> None:
    answer = await nobody.post("/v1/session", json={"name": "admin\0", "password": "x"})
    assert answer.status_code == 422
    assert fields_of(answer) == ["name"]


async def test_a_rule_about_a_number_no_target_can_have_is_refused(member: Client) -> None:
    answer = await member.post("/v1/rules", json={"name": "r", "target_ids": [2**70], "channel_ids": [2**70]})
    assert answer.status_code == 422
    assert sorted(fields_of(answer)) == ["channel_ids.0", "target_ids.0"]


async def test_an_expression_with_half_a_character_is_told_as_wrong(outsider: Client) -> None:
    body = json.dumps({"kind": "http", "expression": 'body == "\ud800"'})
    answer = await outsider.post("/v1/expressions/check", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert answer.json()["ok"] is False


@pytest.mark.parametrize("path", ["/" + "a" * 5000, "/assets/" + "a" * 300 + ".js", "/" + "a/" * 2000])
async def test_an_address_longer_than_any_file_is_not_our_fault(nobody: Client, path: str) -> None:
    assert (await nobody.get(path)).status_code in (200, 404)


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_a_body_of_another_type_is_told_how_to_be_sent(member: Client, content_type: str) -> None:
    for path in ("/v1/targets", "/v1/expressions/check"):
        answer = await member.post(path, content=json.dumps(HTTP_TARGET), headers={"Content-Type": content_type})
        assert answer.status_code == 400
        assert "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize("field", ["username", "proxy_username"])
async def test_a_user_name_holds_no_control_characters(member: Client, field: str) -> None:
    answer = await member.post("/v1/targets", json=HTTP_TARGET | {field: "me\0you"})
    assert answer.status_code == 422
    assert fields_of(answer) == [field]
