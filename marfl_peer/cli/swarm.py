"""`marfl-peer swarm`: many peers as processes of this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path

import click

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.cli.options import SettingsCommand, choose, setting_options
from marfl_peer.cli.settings import DEFAULT_PEERS


@click.command(
    cls=SettingsCommand,
    epilog=manual(
        examples=(
            "marfl-peer swarm",
            "marfl-peer swarm --peers 64 --task mnist --data-dir ~/mnist --partition dirichlet:1.0",
            "marfl-peer swarm --peers 16 --target-accuracy 0.95 --summary summary.json --plain",
            "marfl-peer swarm --peers 16 --churn kill:0.2",
            "marfl-peer swarm --peers 4 --port 7700 --metrics-port 9100",
        ),
        exits={
            ExitCode.OK: "all peers finished, but those that --churn took away for good",
            ExitCode.FAILED: "peers were lost that no plan took away, or none could be started",
            ExitCode.INTERRUPTED: "Ctrl+C or SIGTERM: the peers left, and the summary is written",
        },
        see_also=(
            "marfl-peer top",
            "marfl-peer report",
            "marfl-peer init",
            "marfl-peer simulate",
            "docs/quickstart.md",
            "docs/operations.md",
        ),
    ),
)
@click.option("--peers", metavar="INTEGER", help=f"peers to start, each a process [default: {DEFAULT_PEERS}]")
@click.option("--summary", type=click.Path(path_type=Path), metavar="FILE", help="write a JSON summary of the run")
@click.option("--churn", metavar="PLAN.toml|ACTION:SHARE", help="kill, restart, pause and slow down peers by this plan")
@click.option("--plain", is_flag=True, help="one line an iteration in place of the live view")
@setting_options()
@click.pass_context
def swarm(ctx: click.Context, /, summary: Path | None, churn: str | None, plain: bool, **flags: object) -> None:
    """Run a whole swarm on this machine: N peers as processes, live progress, a summary at the end.

    With --port P and --metrics-port Q the peers are reached at P, P + 1, ... and tell their metrics at Q, Q + 1, ...;
    else at any free port, and not at all. Ctrl+C lets the peers leave and still writes the summary, a second one ends
    them at once.
    """
    chosen = choose(flags)
    settings = chosen.settings
    if "shards" not in chosen.stated:
        settings = dataclasses.replace(settings, shards=chosen.peers)

    from marfl_peer.lab.churn.plan import NO_CHURN
    from marfl_peer.lab.churn.reading import read_plan
    from marfl_peer.lab.encoding import encode_ahead
    from marfl_peer.lab.swarm import run_swarm

    plan = NO_CHURN
    if churn is not None:
        plan = read_plan(churn, seed=settings.seed, peers=chosen.peers, iterations=settings.iterations)
    if code := asyncio.run(encode_ahead(settings, os.environ)):
        ctx.exit(code)
    first_port = settings.port if "port" in chosen.stated and settings.port else None
    ctx.exit(run_swarm(settings, chosen.peers, summary=summary, plain=plain, churn=plan, first_port=first_port))
