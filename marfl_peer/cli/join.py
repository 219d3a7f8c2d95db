"""`marfl-peer join`: one peer as a daemon. Wires settings, sinks, signals and the peer together."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import AsyncExitStack

import click

from marfl_peer.cli import loop
from marfl_peer.cli.exit_codes import ExitCode, of_signal
from marfl_peer.cli.manual import manual
from marfl_peer.cli.options import SettingsCommand, choose, setting_options
from marfl_peer.cli.settings import Chosen
from marfl_peer.cli.signals import StopSignals
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.facts import Sink
from marfl_peer.observe.health import Health
from marfl_peer.observe.http import MetricsServer
from marfl_peer.observe.journal import Journal
from marfl_peer.observe.log import FactLog
from marfl_peer.observe.log_output import logging_to
from marfl_peer.observe.metrics import Metrics
from marfl_peer.observe.position import Position
from marfl_peer.protocol.hashed import with_buckets

JOURNAL = "journal.jsonl"
ANY_INTERFACE = "0.0.0.0"


@click.command(
    cls=SettingsCommand,
    epilog=manual(
        examples=(
            "marfl-peer join --wait-for 3 --iterations 20",
            "marfl-peer join --bootstrap 192.168.1.10:7700 --metrics-port 9100",
            "MARFL_TASK=mnist marfl-peer join --lan --data-dir ~/mnist",
        ),
        exits={
            ExitCode.OK: "the run is over, its target or the privacy budget is reached, or the peer left when asked to",
            ExitCode.FAILED: "the peer stopped with an error, which its last log lines tell",
            ExitCode.UNAVAILABLE: "no bootstrap peer answered, or the DHT could not be used",
            ExitCode.FILE: "a file could not be read or written",
            ExitCode.INTERRUPTED: "Ctrl+C, a second or an early one, ended it before it could leave",
            ExitCode.TERMINATED: "SIGTERM, a second or an early one, ended it before it could leave",
        },
        see_also=(
            "marfl-peer doctor",
            "marfl-peer top",
            "marfl-peer export",
            "docs/operations.md",
            "docs/troubleshooting.md",
        ),
    ),
)
@setting_options()
@click.pass_context
def join(ctx: click.Context, /, **flags: object) -> None:
    """Run one peer: find the swarm, train on own data, average, until the run is over.

    The settings of a run that is already going are adopted; a flag that contradicts them is an error.
    Ctrl+C or SIGTERM leaves gracefully, a second one ends the peer at once.
    """
    chosen = choose(flags)
    settings, position = chosen.settings, Position()
    with logging_to(sys.stderr, settings.log_level, log_format=settings.log_format, position=position):
        ctx.exit(loop.run(run_peer(chosen, position)))


async def run_peer(chosen: Chosen, position: Position) -> int:
    """One peer's life, which `position` follows. Returns the exit code. Raises: MarflError."""
    task = asyncio.current_task()
    assert task is not None
    with StopSignals(task.cancel) as signals:
        try:
            return await _life(chosen, position, signals)
        except asyncio.CancelledError:
            # Nobody else cancels this task: a signal came while there was no peer yet that could leave.
            if signals.received is None:
                raise
            return of_signal(signals.received)


async def _life(chosen: Chosen, position: Position, signals: StopSignals) -> int:
    import torch

    from marfl_peer.lab.baselines.registry import scheme_of
    from marfl_peer.lab.encoding import encode_ahead
    from marfl_peer.learning.memory import Heap
    from marfl_peer.learning.tasks.registry import load_task
    from marfl_peer.peer.addresses import nat_warning
    from marfl_peer.peer.adoption import adopt_run
    from marfl_peer.peer.peer import Peer

    torch.set_num_threads(chosen.settings.threads)
    heap = Heap()
    heap.be_frugal()
    async with AsyncExitStack() as stack:
        sinks = await _sinks(chosen.settings, stack)
        if warning := nat_warning(chosen.settings):
            logging.getLogger("marfl_peer.cli").warning("%s", warning)
        settings = await adopt_run(chosen.settings, chosen.stated)
        settings = with_buckets(settings, settings.wait_for)
        if code := await encode_ahead(settings, os.environ):
            return code
        scheme = scheme_of(settings, peers=settings.wait_for)
        log = FactLog(logging.getLogger("marfl_peer.peer"), iterations=settings.iterations)
        peer = Peer(
            settings,
            load_task(settings.task, encoder=settings.encoder, data_dir=settings.data_dir, folder=settings.task_dir),
            sinks=(*sinks, position, log),
            heap=heap,
            scheme=scheme,
        )
        await stack.enter_async_context(peer)
        signals.ask_with(peer.leave)
        stopped = await peer.run()
    return ExitCode.FAILED if stopped.reason == "error" else ExitCode.OK


async def _sinks(settings: Settings, stack: AsyncExitStack) -> tuple[Sink, ...]:
    """The journal and, where a port is given, metrics and health over HTTP; closed with the stack."""
    journal = stack.enter_context(Journal(settings.state_dir / JOURNAL))
    if settings.metrics_port is None:
        return (journal,)
    health, metrics = Health(Clock().now), Metrics()
    host = ANY_INTERFACE if settings.host == "auto" else settings.host
    await stack.enter_async_context(
        MetricsServer(host, settings.metrics_port, registry=metrics.registry, health=health)
    )
    return (journal, health, metrics)
