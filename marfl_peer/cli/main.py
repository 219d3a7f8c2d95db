"""The console entry: the group of all commands."""

from __future__ import annotations

import click

import marfl_peer
from marfl_peer.cli.bench import bench
from marfl_peer.cli.completion import completion
from marfl_peer.cli.data import data
from marfl_peer.cli.doctor import doctor
from marfl_peer.cli.exit_codes import MEANINGS
from marfl_peer.cli.export import export
from marfl_peer.cli.init import init
from marfl_peer.cli.join import join
from marfl_peer.cli.report import report
from marfl_peer.cli.reporting import PROGRAM, ReportingGroup
from marfl_peer.cli.simulate import simulate
from marfl_peer.cli.status import status
from marfl_peer.cli.swarm import swarm
from marfl_peer.cli.top import top

EPILOG = "\n".join(
    [
        "\b",
        "Examples:",
        "  marfl-peer swarm",
        "  marfl-peer join --bootstrap 192.168.1.10:7700",
        "  marfl-peer top --peer 192.168.1.10:7700",
        "",
        "\b",
        "Settings: flag > MARFL_NAME environment variable > marfl.toml > default.",
        "",
        "\b",
        "Exit codes:",
        *(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items()),
    ]
)


@click.group(cls=ReportingGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(marfl_peer.__version__, prog_name=PROGRAM)
def cli() -> None:
    """Train one model on data that never leaves its owners, with no server.

    Every owner runs a peer. Peers find each other, train locally and average in small groups of a grid until
    each of them holds the model of all.
    """


for command in (join, swarm, simulate, report, bench, top, status, doctor, data, export, init, completion):
    cli.add_command(command)


def main() -> None:
    """Runs the command that the process was started with, and ends the process with its exit code."""
    cli(prog_name=PROGRAM)
