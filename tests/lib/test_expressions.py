"""The expression language: what is refused when it is saved, and what is said when it fails later."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.lib.expressions import (
    MAX_LENGTH,
    EvaluationError,
    ExpressionError,
    Kind,
    Value,
    compile_condition,
    fit_text,
)

VARIABLES = {
    "status": Kind.INT,
    "latency_ms": Kind.NUMBER,
    "body": Kind.STRING,
    "json": Kind.ANY,
    "headers": Kind.STRING_MAP,
    "tls.expires_in": Kind.DURATION,
    "tags": Kind.STRINGS,
}


@pytest.mark.parametrize(
    ("source", "values", "holds"),
    [
        ("status == 200", {"status": 200}, True),
        ("status == 200 && json.ok", {"status": 200, "json": {"ok": True}}, True),
        ("latency_ms < 800", {"latency_ms": 12.5}, True),
        ("latency_ms < 800", {"latency_ms": 900}, False),
        ("latency_ms < 800.5", {"latency_ms": 800}, True),
        ('tls.expires_in > duration("168h")', {"tls.expires_in": timedelta(days=8)}, True),
        ('body.contains("Welcome")', {"body": "You are Welcome"}, True),
        ('headers["content-type"].startsWith("text/")', {"headers": {"content-type": "text/html"}}, True),
        ('"a" in tags', {"tags": ["a", "b"]}, True),
        ("json == null", {"json": None}, True),
        ("json.items.all(i, i.n > 0)", {"json": {"items": [{"n": 1}, {"n": 2}]}}, True),
    ],
)
def test_conditions(source: str, values: dict[str, Value], holds: bool) -> None:
    assert compile_condition(source, VARIABLES).holds(values) is holds


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        ("", 1, 1, "empty"),
        ("   ", 1, 1, "empty"),
        ("status ==", 1, 10, "Syntax error"),
        ("status == 200 &&\n statsu == 1", 2, 2, "undeclared reference to 'statsu'"),
        ('status == "200"', 1, 8, "no matching overload"),
        ("status", 1, 1, "it must yield true or false, but yields INT"),
        ("tls.expirs_in > duration('1h')", 1, 1, "undeclared reference to 'tls.expirs_in'"),
        ("1 == 1" + " " * MAX_LENGTH, None, None, "longer than"),
    ],
)
def test_broken_ones_are_refused_with_the_place(
    source: str, line: int | None, column: int | None, message: str
) -> None:
    with pytest.raises(ExpressionError, match=message) as caught:
        compile_condition(source, VARIABLES)
    assert caught.value.line == line
    if column is not None and "undeclared" not in message:
        assert caught.value.column is not None


@pytest.mark.parametrize(
    ("source", "values", "message"),
    [
        ("json.ok", {"json": {"other": 1}}, "Key not found"),
        ("json.ok", {"json": {"ok": "yes"}}, "it yields 'yes', not true or false"),
        ("json.n > 3", {"json": {"n": "word"}}, "No matching overloads"),
        ("json.a.b", {"json": {"a": 1}}, "SELECT"),
        ("status == 1", {}, "status"),
        ('headers["x"] == "1"', {"headers": {}}, "Key not found"),
        ("json.n == 1", {"json": {"n": 2**80}}, "out of range"),
        ('body == "x"', {"body": "\ud800"}, "null"),
    ],
)
def test_ones_that_fail_later_say_why(source: str, values: dict[str, Value], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        compile_condition(source, VARIABLES).holds(values)


@pytest.mark.parametrize(
    ("source", "mentioned"),
    [
        ("status == 200", ("status",)),
        ("json.status == 200", ("json",)),
        ("json . status == 200", ("json",)),
        ('headers["status"] == "1"', ("headers",)),
        ('body == "json.status"', ("body",)),
        ("body == 'json' // latency_ms", ("body",)),
        (r'body == r"\d" && status == 1', ("body", "status")),
        ('body == """a "json" b""" && status == 1', ("body", "status")),
        ("tls.expires_in > duration('1h')", ("tls.expires_in",)),
        ("tls . expires_in > duration('1h')", ("tls.expires_in",)),
        (".status == 1", ("status",)),
        ("[1, 2].exists(i, i == status)", ("status",)),
        ("(json).status == 1", ("json",)),
        ("json.items[status].body == 'x'", ("json", "status")),
        ("true", ()),
    ],
)
def test_the_variables_it_mentions(source: str, mentioned: tuple[str, ...]) -> None:
    assert compile_condition(source, VARIABLES).variables == mentioned


@given(st.text(alphabet=st.characters()))
def test_fitting_text_passes_through_the_language_whole(text: str) -> None:
    fitting = fit_text(text)
    assert len(fitting) == len(text)
    assert compile_condition("body == json", VARIABLES).holds({"body": fitting, "json": fitting})
    assert compile_condition("size(body) == json", VARIABLES).holds({"body": fitting, "json": len(text)})
