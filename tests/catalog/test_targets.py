"""What makes a target: every kind's table row fits, and what is checked before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from tocsin.catalog import targets
from tocsin.catalog.errors import FieldError, Invalid
from tocsin.catalog.fields import flat_model, own_fields, secret_names, secrets_set, validated, with_kept_secrets
from tocsin.catalog.targets import ProbedFields, TargetFields
from tocsin.probes import PROBES

HTTP: dict[str, Any] = {"name": "shop", "kind": "http", "url": "http://127.0.0.1/"}


def wrong(document: dict[str, Any]) -> list[FieldError]:
    with pytest.raises(Invalid) as caught:
        targets.check(document)
    return list(caught.value.errors)


@pytest.mark.parametrize("kind", PROBES)
def test_every_kind_is_made_from_its_row(kind: str) -> None:
    model = targets.WRITE_MODELS[kind]
    own = PROBES[kind].settings.model_fields.keys()
    common = TargetFields if PROBES[kind].probe is None else ProbedFields
    assert own | common.model_fields.keys() | {"kind"} == model.model_fields.keys()
    assert model.model_json_schema()["properties"]["kind"]["const"] == kind
    assert (PROBES[kind].probe is None) == (PROBES[kind].schedule is not None)
    # Secrets stand alone, so that they can be kept apart.
    settings: type[BaseModel] = PROBES[kind].settings
    for name in secret_names(settings):
        assert settings.model_fields[name].annotation in (SecretStr, SecretStr | None)


def test_a_field_named_like_a_common_one_is_our_own_mistake() -> None:
    class Clashing(BaseModel):
        name: str

    with pytest.raises(TypeError, match="Clashing names a field like a common one: name"):
        flat_model("X", TargetFields, Clashing, "x")


def test_an_unsaved_target_carries_its_secrets_in_clear() -> None:
    target = targets.unsaved(targets.check(HTTP | {"username": "me", "password": "hush"}))
    assert (target.id, target.settings["password"], target.timeout_ms) == (0, "hush", 10_000)


@pytest.mark.parametrize(
    ("interval_s", "timeout_s", "recheck_s"), [(60, 10, 5), (10, 10, 5), (7.5, 7.5, 5), (1, 1, 1), (86_400, 10, 5)]
)
def test_what_is_left_out_fits(interval_s: float, timeout_s: float, recheck_s: float) -> None:
    fields = targets.check(HTTP | {"interval_s": interval_s}).fields
    assert (fields.timeout_s, fields.recheck_s) == (timeout_s, recheck_s)


@pytest.mark.parametrize("interval_s", [0, -5, 0.5, 86_400.1, "60", None, True, float("nan"), float("inf"), 10**400])
def test_an_impossible_interval_is_the_only_thing_wrong(interval_s: object) -> None:
    assert [error.field for error in wrong(HTTP | {"interval_s": interval_s})] == ["interval_s"]


def test_what_is_longer_than_the_interval_is_named_with_it() -> None:
    assert wrong(HTTP | {"interval_s": 30, "timeout_s": 31, "recheck_s": 40}) == [
        FieldError("timeout_s", "must not be longer than interval_s (30)"),
        FieldError("recheck_s", "must not be longer than interval_s (30)"),
    ]


@pytest.mark.parametrize("fields", [{"locations": ["fra"]}, {"quorum": "all"}, {"locations": [], "quorum": "majority"}])
def test_what_nobody_probes_is_checked_from_nowhere(fields: dict[str, Any]) -> None:
    job: dict[str, Any] = {"name": "backup", "kind": "heartbeat", "period_s": 60}
    why = "nobody probes a heartbeat: its job calls in"
    assert wrong(job | fields) == [FieldError(name, why) for name in sorted(fields)]
    assert {error.field for error in wrong(job | fields | {"interval_s": 0})} == {*fields, "interval_s"}
    targets.check(job | {"depends_on": [1]})


@pytest.mark.parametrize(
    ("locations", "quorum", "is_right"),
    [([], 3, True), (["a", "b"], 2, True), (["a", "b"], 3, False), (["a", "a"], 2, False), (["a"], "all", True)],
)
def test_a_quorum_is_one_that_can_be_reached(locations: list[str], quorum: str | int, is_right: bool) -> None:
    named = [error.field for error in refusals(HTTP | {"locations": locations, "quorum": quorum})]
    assert named == ([] if is_right else ["quorum"])


@given(st.text(max_size=300))
def test_any_name_makes_a_slug_that_fits_an_address(name: str) -> None:
    slug = targets.slug_of(name)
    assert 0 < len(slug) <= 60
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not slug.startswith("-")
    assert not slug.endswith("-")
    assert "--" not in slug


def refusals(document: dict[str, Any]) -> Sequence[FieldError]:
    """Empty: it is taken."""
    try:
        targets.check(document)
    except Invalid as refused:
        return refused.errors or [FieldError("nothing is named", "")]
    return []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = [field.alias or name for name, field in targets.WRITE_MODELS["http"].model_fields.items()]


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=10), JSON, max_size=4))
def test_whatever_is_given_is_taken_or_refused_by_name(given_: dict[str, Any]) -> None:
    document = HTTP | given_
    named = {*document, "timeout_s", "recheck_s"}
    for error in refusals(document):
        assert error.message
        assert error.field == "" or any(error.field == name or error.field.startswith(f"{name}.") for name in named)


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "localhost"
    token: SecretStr = SecretStr("")
    key: SecretStr | None = Field(None)


def test_secrets_are_kept_apart_from_what_may_be_seen() -> None:
    written = Settings(token=SecretStr("hush"), key=SecretStr(""))
    assert secret_names(Settings) == ("token", "key")
    assert own_fields(Settings, written) == ({"host": "localhost", "token": None}, {"token": "hush"})
    assert secrets_set(Settings, {"host": "x", "token": None}) == ["token"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, {"token": "old"}),
        ({"token": None}, {"token": "old"}),
        ({"token": "new"}, {"token": "new"}),
        ({"token": ""}, {"token": None}),
        ({"key": ""}, {"token": "old"}),
        ({"key": None}, {"token": "old"}),
        ({"token": ["x"]}, {"token": ["x"]}),
    ],
)
def test_a_secret_stays_until_it_is_replaced_or_cleared(document: dict[str, Any], expected: dict[str, Any]) -> None:
    assert with_kept_secrets(document, {"token": "old"}, ("token", "key")) == expected


def test_types_fit_exactly() -> None:
    class Shape(BaseModel):
        number: int
        pairs: tuple[int, ...] = ()

    assert validated(Shape, {"number": 1, "pairs": [1, 2]}).pairs == (1, 2)
    for number in ("1", True, 1.5, None):
        with pytest.raises(Invalid, match="number"):
            validated(Shape, {"number": number})
