"""`marfl-peer init`: a folder with a task of one's own to begin with, that runs as it is."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path

import click

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.errors import ConfigError

STARTER = {"mytask.py": "mytask.py.txt", "marfl.toml": "marfl.toml", "README.md": "README.md"}
"""What is written, and from which file beside this module. A task in the making is no module of this package."""


@click.command(
    epilog=manual(
        arguments={"FOLDER": "where the files go; it is made if it is not there"},
        notes="Nothing is replaced: if one of the files is there already, none is written.",
        examples=("marfl-peer init mine", "marfl-peer swarm --config mine/marfl.toml --peers 4"),
        exits={ExitCode.OK: "the files are written"},
        see_also=("marfl-peer data check", "marfl-peer swarm", "docs/quickstart.md", "docs/settings.md"),
    ),
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
def init(folder: Path) -> None:
    """Write a task of one's own to begin with: mytask.py, marfl.toml and README.md.

    The task learns as it is, from points that it makes up. Its model, its data, its loss and what counts as right are
    then for you to replace; marfl.toml has the settings that name it.
    """
    write_starter(folder)
    click.echo(f"wrote {', '.join(STARTER)} into {folder}; to see it learn:")
    click.echo(f"  marfl-peer swarm --config {shlex.quote(str(folder / 'marfl.toml'))} --peers 4")


def write_starter(folder: Path) -> None:
    """All files of the starter, or none. Raises: ConfigError where one is there already, or none can be written."""
    there = next((folder / name for name in STARTER if (folder / name).exists()), None)
    if there is not None:
        raise ConfigError("init", str(there), "is there already, and nothing is replaced: name another folder")
    source = resources.files("marfl_peer.cli") / "starter"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, origin in STARTER.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write((source / origin).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("init", str(folder), f"cannot be written ({error.strerror}): name another folder") from None
