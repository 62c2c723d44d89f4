"""The settings of kind heartbeat; what calls mean is tested in ``tests/core``."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.probes.probing import target
from tocsin.core.schedule import Cron, Every
from tocsin.probes import PROBES
from tocsin.probes.frame import prepare
from tocsin.probes.heartbeat import HeartbeatSettings


def test_a_period_with_its_grace() -> None:
    settings = HeartbeatSettings.model_validate({"period_s": 3600, "grace_s": 60})
    assert settings.schedule == Every(3_600_000, 60_000)
    assert PROBES["heartbeat"].endpoint(settings) == "every hour, with 1 minute of grace"


def test_a_cron_expression_in_its_time_zone() -> None:
    settings = HeartbeatSettings.model_validate({"cron": " 30 2  * * * ", "tz": "Europe/Berlin"})
    assert settings.schedule == Cron("30 2 * * *", "Europe/Berlin", 300_000)
    row = PROBES["heartbeat"]
    assert row.schedule is not None
    assert row.schedule(settings) == settings.schedule
    assert row.endpoint(settings) == "at 02:30 every day (Europe/Berlin), with 5 minutes of grace"


def test_nobody_probes_it() -> None:
    assert prepare(target("heartbeat", {"period_s": 60})) is None


def test_what_is_dumped_is_read_again() -> None:
    """As a file or the store gives it back, strictly."""
    for fields in ({"period_s": 60}, {"cron": "@daily", "tz": "Asia/Tokyo", "grace_s": 0}):
        settings = HeartbeatSettings.model_validate(fields)
        assert HeartbeatSettings.model_validate_json(settings.model_dump_json(), strict=True) == settings


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ({}, "cron", "give one of period_s and cron"),
        ({"period_s": 60, "cron": "@daily"}, "cron", "not both"),
        ({"cron": "61 * * * *"}, "cron", r"field 1 \(minute\): “61” is not valid"),
        ({"cron": "* * *"}, "cron", "has 5 fields"),
        ({"period_s": 0}, "period_s", "greater than or equal to 1"),
        ({"period_s": 60, "grace_s": -1}, "grace_s", "greater than or equal to 0"),
        ({"cron": "@daily", "tz": "Mars/Olympus"}, "tz", "“Mars/Olympus” is not an IANA time zone"),
        ({"period_s": 60, "url": "x"}, "url", "Extra inputs"),
    ],
)
def test_bad_settings_name_their_field(settings: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        HeartbeatSettings.model_validate(settings)
    assert [error["loc"] for error in refused.value.errors()] == [(field,)]
