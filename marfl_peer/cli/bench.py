"""`marfl-peer bench`: how fast peers average and what they send, beside others in the same run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TypeVar

import click

from marfl_peer.cli.exit_codes import ExitCode, of_signal
from marfl_peer.cli.manual import manual
from marfl_peer.cli.options import SettingsCommand, choose, setting_options

PAPER_BYTES = "9599056"
"""Theta and momentum of the paper's CNN on MNIST."""

EXITS = {
    ExitCode.OK: "it was measured, and the results were what they must be",
    ExitCode.FAILED: "a process failed, or a result was wrong",
    ExitCode.INTERRUPTED: "Ctrl+C ended it, and all that it had started",
    ExitCode.TERMINATED: "SIGTERM ended it, and all that it had started",
}

Command = TypeVar("Command", bound=Callable[..., object])


@click.group(
    epilog=manual(
        examples=("marfl-peer bench exchange", "marfl-peer bench codecs --codec int8"),
        exits=EXITS,
        see_also=("marfl-peer bench exchange --help", "docs/operations.md", "docs/benchmarks.md"),
    ),
)
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure the exchange, the whole aggregation, how both scale, and codecs, with real peers on this machine.

    Medians of repeats; whatever is compared is measured in the same run, in turns. Nothing else should run meanwhile.
    """
    # What it has made on this machine is removed on the way out, as after Ctrl+C.
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(of_signal(number)))
    context.call_on_close(lambda: signal.signal(signal.SIGTERM, before))


def _json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="print nothing but one JSON object on stdout")(command)


def _bytes(flag: str) -> Callable[[Command], Command]:
    return click.option(
        flag,
        "vector_bytes",
        default=PAPER_BYTES,
        show_default=True,
        metavar="INTEGER",
        help="theta and momentum in float32",
    )


def _repeats(default: str) -> Callable[[Command], Command]:
    return click.option("--repeats", default=default, show_default=True, metavar="INTEGER", help="of each side")


@bench.command(
    cls=SettingsCommand,
    epilog=manual(
        examples=(
            "marfl-peer bench exchange",
            "marfl-peer bench exchange --members 4 --bytes 9600000 --repeats 100 --json",
            "marfl-peer bench exchange --link-rate 1gbit --codec int8",
            "marfl-peer bench exchange --link-rate 200mbit --slow-rate 20mbit --spans equal --repeats 5",
        ),
        exits=EXITS,
        see_also=(
            "marfl-peer bench aggregation",
            "marfl-peer swarm",
            "docs/operations.md",
            "docs/benchmarks.md",
        ),
    ),
)
@click.option("--members", default="4", show_default=True, metavar="INTEGER", help="processes in one group")
@_bytes("--bytes")
@_repeats("50")
@click.option("--link-rate", metavar="RATE", help="of every member's link, such as 1gbit; needs root and iproute2")
@click.option(
    "--slow-members", metavar="INTEGER", help="of the last members, whose links have --slow-rate  [default: 1]"
)
@click.option("--slow-rate", metavar="RATE", help="such as 100mbit")
@_json
@setting_options("codec", "exchange", "spans", "same_machine")
def exchange(
    members: str,
    vector_bytes: str,
    repeats: str,
    link_rate: str | None,
    slow_members: str | None,
    slow_rate: str | None,
    as_json: bool,
    **flags: object,
) -> None:
    """Average one vector in one group of peers, beside gloo's all-reduce.

    Timed is from a vector in each member's memory to the result in each member's memory. With --link-rate each member
    lives in a network namespace of its own, behind a link of that rate in both directions, and so do gloo's ranks.
    """
    settings = choose(flags).settings

    from marfl_peer.lab.bench import command, plan

    count = plan.members(members)
    command.exchange(
        settings,
        members=count,
        rates=plan.rates(count, link_rate, slow_members, slow_rate),
        vector_bytes=plan.vector_bytes("--bytes", vector_bytes),
        repeats=plan.repeats(repeats),
        as_json=as_json,
    )


@bench.command(
    cls=SettingsCommand,
    epilog=manual(
        examples=(
            "marfl-peer bench aggregation --peers 16 --group-size 4",
            "marfl-peer bench aggregation --peers 125 --group-size 5 --bytes 960000 --json",
        ),
        exits=EXITS,
        see_also=(
            "marfl-peer bench scaling",
            "marfl-peer swarm",
            "docs/operations.md",
            "docs/benchmarks.md",
        ),
    ),
)
@click.option("--peers", default="16", show_default=True, metavar="INTEGER", help="processes")
@_bytes("--bytes")
@_repeats("20")
@_json
@setting_options("group_size", "codec", "exchange", "same_machine")
def aggregation(peers: str, vector_bytes: str, repeats: str, as_json: bool, **flags: object) -> None:
    """Average one vector among all peers, round after round in groups, matchmaking included.

    Beside it: gloo's all-reduces in the same groups, one all-reduce of all, and rounds of hivemind where that package
    is installed.
    """
    settings = choose(flags).settings

    from marfl_peer.lab.bench import command, plan

    command.aggregation(
        settings,
        peers=plan.peers(peers),
        vector_bytes=plan.vector_bytes("--bytes", vector_bytes),
        repeats=plan.repeats(repeats),
        as_json=as_json,
    )


@bench.command(
    cls=SettingsCommand,
    epilog=manual(
        examples=(
            "marfl-peer bench scaling --peers 5,25,125 --group-size 5 --iterations 20",
            "marfl-peer bench scaling --peers 16,64 --group-size 4 --vector-bytes 960000 --json",
            "marfl-peer bench scaling --peers 5,25,125 --simulate 625 --group-size 5 --vector-bytes 80000 --codec int8",
            "marfl-peer bench scaling --peers 16 --aggregation ring --iterations 5",
        ),
        exits=EXITS,
        see_also=(
            "marfl-peer bench aggregation",
            "marfl-peer swarm",
            "docs/operations.md",
            "docs/benchmarks.md",
        ),
    ),
)
@click.option("--peers", default="4,16,64", show_default=True, metavar="N,N,...", help="one run for each of them")
@click.option("--simulate", metavar="N,N,...", help="more runs, of simulated peers; only bytes are known of them")
@_bytes("--vector-bytes")
@_json
@setting_options("group_size", "iterations", "codec", "exchange", "aggregation", "rounds", "same_machine")
def scaling(peers: str, simulate: str | None, vector_bytes: str, as_json: bool, **flags: object) -> None:
    """Count the bytes that peers send, and time their iterations, without training.

    The first iteration counts like the others: handshakes and look-ups of the start are in the mean. Beside it: what
    the formulas of MAR-FL, RDFL, AR-FL and FedAvg come to, and the fit to N log N.
    """
    settings = choose(flags).settings

    from marfl_peer.lab.bench import command, plan

    command.scaling(
        settings,
        peers=plan.peer_numbers("--peers", peers),
        simulated=[] if simulate is None else plan.peer_numbers("--simulate", simulate),
        vector_bytes=plan.vector_bytes("--vector-bytes", vector_bytes),
        as_json=as_json,
    )


@bench.command(
    epilog=manual(
        examples=(
            "marfl-peer bench codecs",
            "marfl-peer bench codecs --codec int8 --codec topk:0.01 --json",
        ),
        exits=EXITS,
        see_also=(
            "marfl-peer bench exchange",
            "marfl-peer swarm",
            "docs/operations.md",
            "docs/benchmarks.md",
        ),
    ),
)
@click.option("--codec", "names", multiple=True, default=("all",), metavar="NAME", help="may be repeated; all: of each")
@_bytes("--bytes")
@_repeats("20")
@_json
def codecs(names: tuple[str, ...], vector_bytes: str, repeats: str, as_json: bool) -> None:
    """Time how fast values are encoded and decoded, on one thread, and tell what is lost.

    Beside it: a plain copy, which is the limit of the machine, and what error feedback brings back.
    """
    from marfl_peer.lab.bench import command, plan

    command.codecs(
        plan.codec_names(names),
        vector_bytes=plan.vector_bytes("--bytes", vector_bytes),
        repeats=plan.repeats(repeats),
        as_json=as_json,
    )
