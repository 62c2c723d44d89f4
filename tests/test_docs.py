"""What people can set, type, choose or measure is documented, and what the documents name is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from typer._click import Command
from typer.core import TyperGroup

from bench.figures import GOALS
from tocsin.channels import CHANNELS
from tocsin.cli.commands import COMMANDS, load
from tocsin.lib import metrics
from tocsin.probes import PROBES
from tocsin.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if "node_modules" not in path.parts and not path.name.startswith(".")
)


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def commands() -> Iterator[tuple[str, Command]]:
    """Every command that can be called, by all its words."""
    for name in COMMANDS:
        command = load(name)
        if isinstance(command, TyperGroup):
            for own, inner in command.commands.items():
                yield f"tocsin {name} {own}", inner
        else:
            yield f"tocsin {name}", command


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    row = next((line for line in page("docs/configuration.md").splitlines() if f"`TOCSIN_{name.upper()}`" in line), "")
    assert row, "it has no row in docs/configuration.md"
    default = Settings.model_fields[name].default
    if default not in (None, "", ()):
        shown = f"{default:g}" if isinstance(default, float) else str(default).lower()
        assert f"`{shown}`" in row.lower()


def test_no_setting_is_documented_that_is_not_there() -> None:
    named = {
        name.lower() for path in PAGES for name in re.findall(r"\bTOCSIN_([A-Z_]*[A-Z])\b", path.read_text("utf-8"))
    }
    assert named <= set(Settings.model_fields)


def test_every_command_and_option_is_documented() -> None:
    text = page("docs/cli.md")
    missing = []
    for words, command in commands():
        if words not in text:
            missing.append(words)
        for parameter in command.params:
            longest = max(parameter.opts, key=len)
            if longest.startswith("--") and f"`{longest}" not in text and f" {longest}" not in text:
                missing.append(f"{words} {longest}")
    assert not missing


def test_no_command_is_documented_that_is_not_there() -> None:
    known = {words for words, _ in commands()} | {f"tocsin {name}" for name in COMMANDS}
    named = {
        " ".join(found.split())
        for path in PAGES
        if path.name != "roadmap.md"
        for found in re.findall(r"(?:^|[`/ ])(tocsin (?:[a-z]+)(?: [a-z]+)?)(?=[ `\n])", path.read_text("utf-8"), re.M)
    }
    wrong = [
        words
        for words in named
        if words.split()[1] in COMMANDS
        and words not in known
        and len(words.split()) == 3
        and isinstance(load(words.split()[1]), TyperGroup)
    ]
    assert not wrong


def _samples(registry: CollectorRegistry) -> set[str]:
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in registry.collect()
        if family.name.startswith("tocsin_")
    }


def test_every_metric_is_documented_and_no_other() -> None:
    ours = _samples(metrics.REGISTRY)
    named = set(re.findall(r"`(tocsin_[a-z_]+)`", page("docs/operating.md")))
    assert named == ours


@pytest.mark.parametrize("kind", PROBES)
def test_every_kind_of_target_has_a_page_that_names_what_it_has(kind: str) -> None:
    text = page(f"docs/probes/{kind}.md")
    row = PROBES[kind]
    assert not [name for name in (*row.settings.model_fields, *row.variables) if f"`{name}" not in text]


@pytest.mark.parametrize("kind", CHANNELS)
def test_every_kind_of_channel_has_a_page_that_names_its_fields(kind: str) -> None:
    text = page(f"docs/channels/{kind}.md")
    assert not [name for name in CHANNELS[kind].settings.model_fields if f"`{name}`" not in text]


@pytest.mark.parametrize("name", GOALS)
def test_every_aim_of_the_bench_is_explained(name: str) -> None:
    explained = page("docs/performance.md")
    assert f"`{name}`" in explained or f"`{name.removesuffix('p99_ms')}p50_ms`" in explained


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, heading = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        if not target.exists() or (heading and target.suffix == ".md" and heading not in _headings(target)):
            broken.append(link)
    assert not broken


def _headings(path: Path) -> set[str]:
    """The anchors GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_decision_is_listed() -> None:
    listed = page("docs/decisions/README.md")
    for path in (ROOT / "docs" / "decisions").glob("0*.md"):
        assert f"({path.name})" in listed
        title = path.read_text("utf-8").splitlines()[0]
        assert title.startswith(f"# {path.name[:4]} ")


def test_the_readme_opens_with_the_two_commands() -> None:
    opening = page("README.md")[:600]
    assert "make run" in opening
    assert "make test" in opening


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "requirements-build.txt", "requirements-node.txt"]
)
def test_what_is_installed_is_pinned_by_hash_and_names_no_address(name: str) -> None:
    text = page(name)
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
    pinned = re.findall(r"^[A-Za-z0-9].*", text, re.M)
    assert pinned
    assert all("==" in line and line.endswith("\\") for line in pinned)


def test_the_web_apps_packages_name_no_address() -> None:
    assert '"resolved"' not in page("web/package-lock.json")
