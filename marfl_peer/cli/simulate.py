"""`marfl-peer simulate`: swarms on a virtual event loop, and what goes wrong in them on purpose."""

from __future__ import annotations

from pathlib import Path

import click

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.cli.options import SettingsCommand, choose, setting_options
from marfl_peer.errors import ConfigError

SETTINGS = (
    "seed",
    "group_size",
    "iterations",
    "local_steps",
    "exchange",
    "codec",
    "aggregation",
    "rounds",
    "vector",
    "overlap",
    "mkd_iterations",
    "task",
    "trace_mixing",
)


def _seed_range(_: click.Context, __: click.Parameter, value: str | None) -> range | None:
    """A..B, both included. Raises: ConfigError."""
    if value is None:
        return None
    first, dots, last = value.partition("..")
    if not (dots and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise ConfigError("--seeds", value, "write A..B with A <= B, such as 1..1000")
    return range(int(first), int(last) + 1)


@click.command(
    cls=SettingsCommand,
    epilog=manual(
        examples=(
            "marfl-peer simulate --peers 12 --seed 7 --faults random",
            "marfl-peer simulate --faults dead-leader --trace trace.txt",
            "marfl-peer simulate --faults plan.toml --summary summary.json",
            "marfl-peer simulate --seeds 1..1000 --faults random --json",
        ),
        exits={
            ExitCode.OK: "nothing broke",
            ExitCode.FAILED: "an invariant was broken",
            ExitCode.INTERRUPTED: "Ctrl+C ended it after the run under way",
        },
        see_also=(
            "marfl-peer swarm",
            "docs/operations.md",
            "docs/architecture.md",
        ),
    ),
)
@click.option("--peers", metavar="INTEGER", help="peers that found the swarm [default: 8, or drawn with the faults]")
@click.option(
    "--faults",
    default="none",
    metavar="none|random|NAME|PLAN.toml",
    help="what goes wrong: nothing, drawn from the seed, a plan of the house, or one of yours [default: none]",
)
@click.option(
    "--seeds", callback=_seed_range, metavar="A..B", help="run all these seeds and look for broken invariants"
)
@click.option("--json", "as_json", is_flag=True, help="print nothing but one JSON object on stdout")
@click.option("--summary", type=click.Path(path_type=Path), metavar="FILE", help="write a JSON summary of the run")
@click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help="write every event of the run")
@setting_options(*SETTINGS)
@click.pass_context
def simulate(
    ctx: click.Context,
    /,
    faults: str,
    seeds: range | None,
    as_json: bool,
    summary: Path | None,
    trace: Path | None,
    **flags: object,
) -> None:
    """Run swarms in virtual time: the real peer on simulated hosts, disks and networks.

    The same seed gives the same run, event for event. With --seeds, the first run that breaks an invariant is told
    with its last events and the command that replays it. The exit code is 0 only if nothing broke.
    """
    if seeds is not None and (summary or trace):
        raise ConfigError("--seeds", f"{seeds.start}..{seeds.stop - 1}", "--summary and --trace are of one --seed")
    chosen = choose(flags)
    names = {"peers", *SETTINGS}
    given = {
        name: chosen.peers if name == "peers" else getattr(chosen.settings, name)
        for name in sorted(chosen.stated & names)
        if name != "seed"
    }

    from marfl_peer.lab.simulator.command import Simulate

    command = Simulate(faults=faults, given=given, as_json=as_json)
    if seeds is not None:
        ctx.exit(command.many(seeds))
    ctx.exit(command.one(chosen.settings.seed, summary=summary, trace=trace))
