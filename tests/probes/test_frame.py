"""The frame around every probe, tried with probes that do as they are told."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.clocks import FakeClock
from tocsin.core.outcome import Result
from tocsin.core.target import Target
from tocsin.lib.expressions import EvaluationError, ExpressionError, Kind, Value, compile_condition
from tocsin.lib.net import Network
from tocsin.probes.base import Certificate, Failure, Phases, ProbeError, ProbeSettings, Reading
from tocsin.probes.frame import Examination, Prepared, examine, jsonable, prepare

VARIABLES = {"status": Kind.INT, "body": Kind.STRING, "json": Kind.ANY, "left": Kind.DURATION}


def target(kind: str = "http", *assertions: str, **settings: object) -> Target:
    return Target(
        id=1,
        name="shop",
        slug="shop",
        kind=kind,
        settings=settings or {"url": "http://shop.example/"},
        interval_ms=10_000,
        timeout_ms=5_000,
        recheck_ms=10_000,
        enabled=True,
        tags=(),
        group="",
        assertions=assertions,
    )


@pytest.fixture
def look(network: Network) -> Callable[..., Awaitable[Examination]]:
    """One examination of what a probe made up on the spot sees."""

    async def look(
        probe: Reading | Callable[[], Awaitable[Reading]],
        *assertions: str,
        timeout_s: float = 5.0,
        warning_days: int | None = 14,
        clock: FakeClock | None = None,
    ) -> Examination:
        async def seen(_: ProbeSettings, __: float, ___: Network) -> Reading:
            return probe if isinstance(probe, Reading) else await probe()

        conditions = tuple(compile_condition(source, VARIABLES) for source in assertions)
        prepared = Prepared("shop", ProbeSettings(), timeout_s, conditions, warning_days, seen)
        return await examine(prepared, network, clock=clock or FakeClock())

    return look


async def forever() -> Reading:
    never: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
    return await never


Look = Callable[..., Awaitable[Examination]]


# Preparing


def test_a_target_is_prepared_with_its_kinds_default_assertions() -> None:
    prepared = prepare(target())
    assert prepared is not None
    assert [condition.source for condition in prepared.conditions] == ["status < 400"]
    assert prepared.timeout_s == 5.0


def test_own_assertions_replace_the_default() -> None:
    prepared = prepare(target("http", "status == 200", "latency_ms < 800"))
    assert prepared is not None
    assert [condition.source for condition in prepared.conditions] == ["status == 200", "latency_ms < 800"]


def test_nobody_probes_a_heartbeat() -> None:
    assert prepare(target("heartbeat", period_s=3600, grace_s=60)) is None


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (target("carrier-pigeon"), "there is no kind 'carrier-pigeon'"),
        (target("http", url="file:///etc/passwd"), "must start with http"),
        (target("http", url="http://a.example", colour="red"), "colour"),
    ],
)
def test_what_cannot_be_used_is_refused(broken: Target, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(broken)


def test_a_broken_assertion_is_refused_with_its_place() -> None:
    with pytest.raises(ExpressionError, match="statsu") as caught:
        prepare(target("http", "statsu == 200"))
    assert caught.value.line == 1


# Judging


async def test_a_pass(look: Look) -> None:
    phases = Phases(dns_us=1, connect_us=2, transfer_us=3)
    seen = await look(Reading(6, phases, {"status": 200}, address="192.0.2.1"), "status == 200", "status < 300")
    assert (seen.result, seen.error, seen.network_fault) == (Result.PASSED, "", False)
    assert (seen.latency_us, seen.phases, seen.address) == (6, phases, "192.0.2.1")
    assert [(one.source, one.ok, one.error, one.values) for one in seen.assertions] == [
        ("status == 200", True, None, {"status": 200}),
        ("status < 300", True, None, {"status": 200}),
    ]
    assert seen.certificate is None


@pytest.mark.parametrize(
    ("assertion", "values", "error"),
    [
        ("status == 200", {"status": 503}, "status == 200 is false: status is 503"),
        ('body.contains("Welcome")', {"body": "Go\naway"}, "body.contains(\"Welcome\") is false: body is 'Go\\naway'"),
        (
            'left > duration("168h")',
            {"left": timedelta(days=3)},
            'left > duration("168h") is false: left is 3.0 days',
        ),
        ("json.ok == true", {"json": {"ok": False}}, "json.ok == true is false: json is {'ok': False}"),
        ("json != null", {"json": None}, "json != null is false: json is null"),
        ("1 == 2", {}, "1 == 2 is false"),
        ("json.ok", {"json": {}}, 'json.ok cannot be evaluated: Key not found in map : "ok"'),
    ],
)
async def test_a_false_assertion_says_what_it_saw(
    look: Look, assertion: str, values: Mapping[str, Value], error: str
) -> None:
    seen = await look(Reading(1, values=values), "true", assertion)
    assert (seen.result, seen.error) == (Result.FAILED, error)
    assert [one.ok for one in seen.assertions] == [True, False]
    assert not seen.network_fault


async def test_only_what_an_assertion_mentions_is_asked_for(look: Look) -> None:
    class Values(Mapping[str, Value]):
        def __getitem__(self, name: str) -> Value:
            if name == "status":
                return 200
            raise EvaluationError(f"{name} is not to be had")

        def __iter__(self) -> Iterator[str]:
            return iter(VARIABLES)

        def __len__(self) -> int:
            return len(VARIABLES)

    assert (await look(Reading(1, values=Values()), "status == 200")).result is Result.PASSED
    seen = await look(Reading(1, values=Values()), "status == 200 && json.ok")
    assert (seen.result, seen.error) == (
        Result.FAILED,
        "status == 200 && json.ok cannot be evaluated: json is not to be had",
    )


async def test_an_assertion_that_takes_too_long_is_not_evaluated_again(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be stopped while it runs, so it may hold up everything else once, not at every check."""

    async def seen(_: ProbeSettings, __: float, ___: Network) -> Reading:
        return Reading(1000, values={"status": 200, "body": "a" * 5000})

    conditions = tuple(compile_condition(source, VARIABLES) for source in ("status == 200", 'body.matches("(a?)*b?")'))
    prepared = Prepared("shop", ProbeSettings(), 5.0, conditions, 14, seen)
    assert (await examine(prepared, network)).result is Result.PASSED
    monkeypatch.setattr("tocsin.probes.frame.LONGEST_ASSERTION_S", -1.0)
    first = await examine(prepared, network)
    assert first.result is Result.FAILED
    assert "of processor time" in first.error
    monkeypatch.undo()
    again = await examine(prepared, network)
    assert [assertion.error for assertion in again.assertions] == [assertion.error for assertion in first.assertions]
    assert again.result is Result.FAILED


async def test_a_failure_the_probe_reports_is_the_outcome(look: Look) -> None:
    failure = Failure("refused", "connection refused by 192.0.2.1:80", network=True)
    seen = await look(Reading(7, failure=failure), "status == 200")
    assert (seen.result, seen.error, seen.network_fault) == (Result.FAILED, failure.message, True)
    assert seen.assertions == ()
    assert seen.latency_us == 7


async def test_our_own_fault_measures_nothing(look: Look) -> None:
    async def probe() -> Reading:
        raise ProbeError("no free file descriptors")

    seen = await look(probe, "status == 200")
    assert (seen.result, seen.error, seen.latency_us) == (Result.UNMEASURED, "no free file descriptors", None)


@pytest.mark.parametrize("error", [KeyError("x"), TimeoutError(), RecursionError()])
async def test_a_broken_probe_measures_nothing_and_is_logged_once(network: Network, error: Exception) -> None:
    async def probe(_: ProbeSettings, __: float, ___: Network) -> Reading:
        raise error

    prepared = Prepared("shop", ProbeSettings(), 5.0, (), None, probe)
    with capture_logs() as logs:
        for _ in range(3):
            seen = await examine(prepared, network)
            assert seen.result is Result.UNMEASURED
            assert seen.error == f"internal error: {type(error).__name__} (see the log)"
    assert [(entry["event"], entry["target"]) for entry in logs] == [("a probe broke", "shop")]


async def test_values_that_break_measure_nothing(look: Look) -> None:
    with capture_logs():
        seen = await look(Reading(1, values={}), "status == 200")
    assert seen.result is Result.UNMEASURED


async def test_a_probe_that_does_not_end_is_stopped(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.probes.frame.GRACE_S", 0.01)
    stopped = asyncio.Event()

    async def probe() -> Reading:
        try:
            return await forever()
        finally:
            stopped.set()

    seen = await look(probe, timeout_s=0.01)
    assert (seen.result, seen.error, seen.network_fault) == (Result.FAILED, "timed out after 0.01 s", True)
    assert stopped.is_set()


async def test_a_cancelled_examination_is_cancelled(look: Look) -> None:
    begun = asyncio.Event()

    async def probe() -> Reading:
        begun.set()
        return await forever()

    task = asyncio.ensure_future(look(probe))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Certificates


def certificate(*, days: float, subject: str = "CN=leaf", issuer: str = "CN=authority") -> Certificate:
    now_ms = FakeClock().now_ms()
    return Certificate(subject, issuer, ("a.example",), now_ms - 1, int(now_ms + days * 86_400_000), "1f", "ab" * 32)


@pytest.mark.parametrize(
    ("chain", "result", "reason"),
    [
        ([certificate(days=15)], Result.PASSED, ""),
        ([certificate(days=13)], Result.WARNED, "the certificate expires on 2027-01-28"),
        ([certificate(days=-1)], Result.WARNED, "the certificate expired on 2027-01-14"),
        (
            [certificate(days=50), certificate(days=5, subject="CN=between")],
            Result.WARNED,
            "the intermediate certificate CN=between expires on 2027-01-20",
        ),
        ([certificate(days=50), certificate(days=-5, subject="CN=root", issuer="CN=root")], Result.PASSED, ""),
        ([certificate(days=2, subject="CN=a", issuer="CN=a")], Result.WARNED, "the certificate expires on 2027-01-17"),
    ],
)
async def test_the_standing_of_certificates(look: Look, chain: list[Certificate], result: Result, reason: str) -> None:
    seen = await look(Reading(1, certificates=tuple(chain)))
    assert seen.certificate is not None
    assert (seen.certificate.result, seen.certificate.reason) == (result, reason)
    assert seen.result is Result.PASSED
    failed = await look(Reading(1, certificates=tuple(chain), failure=Failure("tls_expired", "expired", False)))
    assert failed.certificate == seen.certificate, "it is told of a server that was refused, too"


async def test_no_warning_is_wanted(look: Look) -> None:
    seen = await look(Reading(1, certificates=(certificate(days=1),)), warning_days=None)
    assert seen.certificate is None


# Evidence


async def test_evidence_is_json_and_says_everything(look: Look) -> None:
    reading = Reading(
        latency_us=1500,
        phases=Phases(dns_us=500, connect_us=1000),
        values={"status": 503, "left": timedelta(hours=2)},
        address="192.0.2.1",
        certificates=(certificate(days=1),),
        details=lambda: {"status": 503},
    )
    seen = await look(reading, "status == 200", 'left > duration("1h")')
    assert json.loads(json.dumps(seen.evidence())) == {
        "result": "failed",
        "ok": False,
        "latency_ms": 1.5,
        "phases": {"dns_ms": 0.5, "connect_ms": 1.0, "tls_ms": None, "first_byte_ms": None, "transfer_ms": None},
        "address": "192.0.2.1",
        "error": "status == 200 is false: status is 503",
        "network_fault": False,
        "assertions": [
            {"source": "status == 200", "ok": False, "error": None, "values": {"status": 503}},
            {"source": 'left > duration("1h")', "ok": True, "error": None, "values": {"left": "7200s"}},
        ],
        "certificates": [
            {
                "subject": "CN=leaf",
                "issuer": "CN=authority",
                "names": ["a.example"],
                "not_before": "2027-01-15T07:59:59.999Z",
                "not_after": "2027-01-16T08:00:00.000Z",
                "serial": "1f",
                "fingerprint": "ab" * 32,
            }
        ],
        "details": {"status": 503},
    }


async def test_evidence_without_a_reading(look: Look) -> None:
    async def probe() -> Reading:
        raise ProbeError("no")

    seen = (await look(probe)).evidence()
    assert (seen["result"], seen["ok"], seen["latency_ms"], seen["details"]) == ("unmeasured", None, None, {})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (2**60, str(2**60)),
        (math.inf, "inf"),
        (math.nan, "nan"),
        ("a\0b\ud800", "a\ufffdb?"),
        (b"abc", "3 bytes"),
        (datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC), "2027-01-02T03:04:05.000Z"),
        ({"a": [1, 2.5, None]}, {"a": [1, 2.5, None]}),
    ],
)
def test_values_as_json(value: Value, shown: object) -> None:
    assert jsonable(value) == shown


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        ["x" * 1000] * 100_000,
        {f"key {number} {'x' * 200}": {"deep": ["x" * 100] * 100} for number in range(10_000)},
    ],
    ids=["text", "list", "map"],
)
def test_values_are_bounded(value: Value) -> None:
    assert len(json.dumps(jsonable(value))) < 20_000


def test_deep_values_are_bounded() -> None:
    deep: Value = "end"
    for _ in range(5000):
        deep = [deep]
    assert len(json.dumps(jsonable(deep))) < 20_000
