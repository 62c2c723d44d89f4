"""The settings in force: the order of their sources, and that no secret is shown."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Commands
from tocsin.cli.config import without_password
from tocsin.settings import Settings


def settings(commands: Commands) -> dict[str, tuple[object, str]]:
    return {one["name"]: (one["value"], one["source"]) for one in commands.ok("config", "--json").json["settings"]}


def test_the_environment_goes_before_the_file_and_that_before_the_default(
    bare: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare.place / "tocsin.toml").write_text('port = 9000\nhost = "127.0.0.2"\n')
    monkeypatch.setenv("TOCSIN_PORT", "9001")
    found = settings(bare)
    assert found["TOCSIN_PORT"] == (9001, "environment")
    assert found["TOCSIN_HOST"] == ("127.0.0.2", "tocsin.toml")
    assert found["TOCSIN_LOCATION"] == ("local", "default")
    assert {f"TOCSIN_{name.upper()}" for name in Settings.model_fields} == found.keys()


def test_secrets_are_hidden(bare: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SECRET_KEY", "sesame sesame sesame")
    monkeypatch.setenv("TOCSIN_ADMIN_PASSWORD", "sesame sesame sesame")
    monkeypatch.setenv("TOCSIN_DATABASE_URL", "postgresql://tocsin:sesame@db.test/tocsin?password=sesame")
    monkeypatch.setenv("TOCSIN_BUS_URL", "rediss://:sesame@redis.test/2?password=sesame")
    for arguments in (("config",), ("config", "--json")):
        said = bare.ok(*arguments)
        assert "sesame" not in said.out + said.err
        assert "db.test" in said.out
        assert "redis.test/2" in said.out


@pytest.mark.parametrize(
    ("database", "bus", "in_force"),
    [
        ("", "", "memory://"),
        ("sqlite:///here.db", "", "memory://"),
        ("postgresql://db/tocsin", "", "postgres://"),
        ("postgres://db/tocsin", "memory://", "memory://"),
        ("postgresql://db/tocsin", "postgresql://direct/tocsin", "postgresql://direct/tocsin"),
        ("", "redis://127.0.0.1/1", "redis://127.0.0.1/1"),
    ],
)
def test_the_bus_follows_the_database_unless_it_is_chosen(
    bare: Commands, monkeypatch: pytest.MonkeyPatch, database: str, bus: str, in_force: str
) -> None:
    for name, value in (("TOCSIN_DATABASE_URL", database), ("TOCSIN_BUS_URL", bus)):
        if value:
            monkeypatch.setenv(name, value)
    assert settings(bare)["TOCSIN_BUS_URL"] == (in_force, "environment" if bus else "default")


@pytest.mark.parametrize("bus", ["postgres://", "kafka://sesame", "redis:sesame", "redis://:sesame/@here"])
def test_a_bus_that_cannot_be_is_refused(bare: Commands, monkeypatch: pytest.MonkeyPatch, bus: str) -> None:
    """The first means the database's own, which here is a file."""
    monkeypatch.setenv("TOCSIN_BUS_URL", bus)
    said = bare("config")
    assert said.code == 2
    assert "bus_url" in said.err.lower()
    assert "sesame" not in said.err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////var/lib/tocsin.db", "sqlite:////var/lib/tocsin.db"),
        ("postgresql://me@db/tocsin", "postgresql://me@db/tocsin"),
        ("postgresql://me:p%40ss@db:5432/tocsin", "postgresql://me:(hidden)@db:5432/tocsin"),
        (
            "postgresql://db/tocsin?password=x&sslmode=require",
            "postgresql://db/tocsin?password=(hidden)&sslmode=require",
        ),
    ],
)
def test_only_the_password_of_an_address_is_hidden(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_every_wrong_setting_is_named_and_no_value_repeated(bare: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "sesame")
    monkeypatch.setenv("TOCSIN_SECRET_KEY", "sesame")
    said = bare("config")
    assert said.code == 2
    lines = said.err.splitlines()
    assert any(line.startswith("TOCSIN_PORT: ") for line in lines)
    assert any(line.startswith("TOCSIN_SECRET_KEY: ") for line in lines)
    assert "sesame" not in said.err


@pytest.mark.parametrize(("text", "named"), [("prot = 1\n", "TOCSIN_PROT"), ("port = = 1\n", "tocsin.toml")])
def test_a_wrong_file_is_named(bare: Commands, text: str, named: str) -> None:
    (bare.place / "tocsin.toml").write_text(text)
    said = bare("config")
    assert said.code == 2
    assert named in said.err


@pytest.mark.parametrize("name", ["", "  ", "eu/fra", "fra\nnyc", "x" * 61])
def test_a_location_is_one_that_targets_can_name(bare: Commands, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TOCSIN_LOCATION", name)
    said = bare("config")
    assert (said.code, "TOCSIN_LOCATION: " in said.err) == (2, True)
    monkeypatch.setenv("TOCSIN_LOCATION", " Zürich 1 ")
    assert settings(bare)["TOCSIN_LOCATION"][0] == "Zürich 1"
