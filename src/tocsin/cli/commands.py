"""The table of commands, and the command line that Typer makes of it.

A command's module is loaded only when that command is called, so that ``tocsin --help`` is quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Annotated, Final, NamedTuple

import typer
from typer._click import Command, Context  # Typer carries its own Click and has no public name for these
from typer.core import TyperCommand, TyperGroup

from tocsin import __version__
from tocsin.main import ROLES


class Entry(NamedTuple):
    module: str
    help: str
    """One line for ``tocsin --help``; the module's own help says the rest."""
    own_words: bool = False
    """Its module has no ``app`` but ``main(arguments)``, which reads them itself and returns the exit code: for what
    has no room for Typer in its process."""


COMMANDS: Final[dict[str, Entry]] = {
    "up": Entry("tocsin.cli.up", "Start everything on this machine: web app, API, worker, alerts, keeper."),
    **{name: Entry("tocsin.cli.role", role.help) for name, role in reversed(ROLES.items())},
    "collector": Entry("tocsin.cli.collector", "Start a collector: it reports how this machine is.", own_words=True),
    "edge": Entry("tocsin.cli.edge", "Start the public relay: it shows what a gateway hands it.", own_words=True),
    "target": Entry("tocsin.cli.target", "Add, list, show, change, test, pause and remove targets."),
    "machine": Entry("tocsin.cli.machine", "List, show and remove machines; say what they are judged by."),
    "location": Entry("tocsin.cli.location", "List the locations checks are made from; remove one."),
    "channel": Entry("tocsin.cli.channel", "Add, list, test and remove channels: who is told."),
    "rule": Entry("tocsin.cli.rule", "List and change rules: what is told, to which channels."),
    "keys": Entry("tocsin.cli.keys", "Create, list and revoke API keys."),
    "user": Entry("tocsin.cli.user", "Set the password of a user."),
    "archive": Entry("tocsin.cli.archive", "Write old samples of machines as Parquet, and bring them back."),
    "config": Entry("tocsin.cli.config", "Print the settings in force and where each comes from."),
    "migrate": Entry("tocsin.cli.migrate", "Bring the database to this version's schema."),
    "doctor": Entry("tocsin.cli.doctor", "Look for what would keep Tocsin from working, and say what to do."),
}


class _Commands(TyperGroup):
    def list_commands(self, ctx: Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """What help shows about a command, without loading it."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else TyperCommand(cmd_name, help=entry.help)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load(name), rest


def load(name: str) -> Command:
    """The whole command ``name``, with its subcommands."""
    module = importlib.import_module(COMMANDS[name].module)
    if COMMANDS[name].own_words:
        return _handing_over(name, module.main)
    command = typer.main.get_command(module.app_of(name) if name in ROLES else module.app)
    command.name = name
    return command


def _handing_over(name: str, main: Callable[[Sequence[str]], int]) -> Command:
    """For whoever asks for every command; ``tocsin.cli.main`` calls such a one without loading any of this."""
    app = typer.Typer(add_completion=False)
    as_they_are = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

    @app.command(name, help=COMMANDS[name].help, context_settings=as_they_are)
    def hand_over(ctx: typer.Context) -> None:
        raise typer.Exit(main(ctx.args))

    return typer.main.get_command(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tocsin {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Tocsin tells you whether what you run is up, how fast it is, and what it was like last month."""


def root() -> Command:
    app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")
    app.callback()(_root)
    return typer.main.get_command(app)
