"""Command-line options made from the declaration of the settings: nothing about a setting is said twice.

Values are handed on as texts: `settings` converts them, so that flags, environment and file read alike.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from marfl_peer.cli.settings import Chosen, flag_of, read_settings
from marfl_peer.config import KINDS, Kind, Settings, shared_names

METAVARS: dict[Kind, str] = {
    Kind.TEXT: "TEXT",
    Kind.WHOLE: "INTEGER",
    Kind.NUMBER: "NUMBER",
    Kind.SWITCH: "",
    Kind.PATH: "PATH",
    Kind.TEXTS: "TEXT",
}
_OF_RUN = "Settings of the run (all peers share them; a peer that joins adopts them)"
_OF_PEER = "Settings of this peer"
_SPECIAL_METAVARS = {
    "bootstrap": "HOST:PORT",
    "shard": "I/N",
    "codec": "NAME|theta=NAME,momentum=NAME",
    "partition": "iid|dirichlet:ALPHA|shards:K",
    "task": "NAME|MODULE:FACTORY",
    "encoder": "hashing|minilm|transformer:NAME_OR_FOLDER",
}


Command = TypeVar("Command", bound=Callable[..., object])
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def setting_options(*names: str) -> Callable[[Command], Command]:
    """Adds the options of these settings (all of them if none is named), and `--config`, to a click command.

    The command receives each setting under its name, None or () when it was not given, and `config`.
    """
    chosen = [item for item in dataclasses.fields(Settings) if not names or item.name in names]

    def decorate(command: Command) -> Command:
        for item in reversed(chosen):
            command = _option(item)(command)
        return click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="settings file in place of ./marfl.toml",
        )(command)

    return decorate


def choose(flags: dict[str, object]) -> Chosen:
    """The settings of this process: what its command was given, its environment and its working directory.

    Raises: ConfigError.
    """
    config = flags.pop("config", None)
    config_file = config if isinstance(config, Path) else None
    return read_settings(flags, os.environ, Path.cwd(), config_file)


def written_default(name: str) -> str:
    """A setting's default as documentation shows it; empty where there is none."""
    default = getattr(Settings(), name)
    if isinstance(default, bool):
        return "true" if default else "false"
    return "" if default is None or default == () else str(default)


def metavar(name: str) -> str:
    """What stands for a setting's value in help and documentation."""
    choices = next(item.metadata["choices"] for item in dataclasses.fields(Settings) if item.name == name)
    if choices is not None:
        return "|".join(choices)
    return _SPECIAL_METAVARS.get(name, METAVARS[KINDS[name]])


class SettingsCommand(click.Command):
    """A command whose help keeps apart what all peers share and what is this peer's own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], _OF_RUN: [], _OF_PEER: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections[_section(parameter.name)].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _section(name: str | None) -> str:
    if name not in KINDS:
        return "Options"
    return _OF_RUN if name in shared_names() else _OF_PEER


def _option(item: dataclasses.Field[object]) -> Callable[[Command], Command]:
    meaning = item.metadata["help"]
    default = written_default(item.name)
    help_text = f"{meaning} [default: {default}]" if default else meaning
    flag = flag_of(item.name)
    match KINDS[item.name]:
        case Kind.SWITCH:
            return click.option(f"{flag}/--no-{flag[2:]}", item.name, default=None, help=help_text)
        case Kind.TEXTS:
            return click.option(flag, item.name, multiple=True, metavar=metavar(item.name), help=help_text)
        case _:
            return click.option(
                flag, item.name, metavar=metavar(item.name), help=help_text, shell_complete=_completer(item)
            )


def _completer(item: dataclasses.Field[object]) -> Completer:
    """What a shell offers for the value of a setting: its choices, or the paths that there are."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if KINDS[item.name] is Kind.PATH:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(choice) for choice in item.metadata["choices"] or () if choice.startswith(incomplete)]

    return complete
