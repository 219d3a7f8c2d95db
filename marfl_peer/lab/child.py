"""What a forked child of `swarm` is: one ordinary peer, whose facts go to its journal and to the launcher.

`prepare` is the nursery's default entry. Knows the peer's public face, and nothing of how children are
started.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

import torch

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.facts import PeerStopped, Sink
from marfl_peer.lab.baselines.registry import SCHEMES
from marfl_peer.lab.fact_stream import FactSender
from marfl_peer.lab.jobs import ChildMain, Job, Start
from marfl_peer.learning.memory import Heap
from marfl_peer.learning.partition import split
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.learning.tasks.registry import load_task
from marfl_peer.learning.trainer import Trainer
from marfl_peer.observe.health import Health
from marfl_peer.observe.http import MetricsServer
from marfl_peer.observe.journal import Journal
from marfl_peer.observe.log import FactLog
from marfl_peer.observe.log_output import logging_to
from marfl_peer.observe.metrics import Metrics
from marfl_peer.observe.position import Position
from marfl_peer.peer.peer import Peer
from marfl_peer.peer.privacy import load_accountant

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # not on every platform
    from asyncio import new_event_loop

ORDERLY = ("finished", "target_reached", "budget_reached", "left")
STOPPED_WHILE_ENTERING = 128 + signal.SIGTERM


def prepare(job: Job) -> ChildMain:
    """Loads the task and its data once, for all children.

    Raises: ConfigError when the task, its data or its partition into that many shards cannot be.
    """
    torch.set_num_threads(1)  # a pool of threads would not survive the fork
    settings = job.settings
    task = load_task(settings.task, encoder=settings.encoder, data_dir=settings.data_dir, folder=settings.task_dir)
    data = task.load(settings.data_dir)
    shards = split(
        data.train_labels,
        data.test_labels,
        shards=settings.shards,
        scheme=settings.partition,
        seed=settings.seed,
    )
    # The first optimizer makes torch import 800 more modules (70 MB, 1 s): here once, not in every child. On the CPU,
    # because nothing of a GPU survives a fork.
    Trainer(task, data, shards[0], dataclasses.replace(settings, device="cpu"))
    if settings.dp_noise:
        load_accountant()
    return functools.partial(run, task=task, data=data, facts_path=job.facts_path)


def run(start: Start, *, task: Task, data: TaskData, facts_path: str) -> int:
    """Lives one peer's life in this process and returns its exit code."""
    torch.set_num_threads(start.settings.threads)
    settings, position = start.settings, Position()
    try:
        with (
            logging_to(sys.stderr, settings.log_level, log_format=settings.log_format, position=position),
            asyncio.Runner(loop_factory=new_event_loop) as runner,
        ):
            stopped = runner.run(live(start, task=task, data=data, facts_path=facts_path, position=position))
    except MarflError as error:
        print(f"marfl-peer: error: {error}", file=sys.stderr)
        return error.exit_code
    except asyncio.CancelledError:
        return STOPPED_WHILE_ENTERING
    return 0 if stopped.reason in ORDERLY else 1


async def live(start: Start, *, task: Task, data: TaskData, facts_path: str, position: Position) -> PeerStopped:
    """Runs the peer, which `position` follows, until it has finished, or has left because of SIGTERM.

    Raises: MarflError, OSError; CancelledError when SIGTERM came before the peer was in the swarm.
    """
    leaving, heap = Leaving(), Heap()
    heap.be_frugal()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.ask)
    async with AsyncExitStack() as stack:
        sinks: tuple[Sink, ...] = (
            *await _eyes(start.settings, stack),
            await stack.enter_async_context(FactSender(facts_path, start.index)),
            position,
            FactLog(logging.getLogger("marfl_peer.peer"), iterations=start.settings.iterations),
        )
        scheme = SCHEMES[start.settings.aggregation]
        peer = Peer(start.settings, task, data=data, sinks=sinks, heap=heap, scheme=scheme)
        await stack.enter_async_context(peer)
        leaving.peer = peer
        return await peer.run()


class Leaving:
    """What SIGTERM does: a peer in the swarm leaves it, one that is still entering is given up."""

    def __init__(self) -> None:
        self._entering = asyncio.current_task()
        self.peer: Peer | None = None

    def ask(self) -> None:
        """May be called more than once, from a signal handler of the loop."""
        if self.peer is not None:
            self.peer.leave()
        elif self._entering is not None:
            self._entering.cancel()


async def _eyes(settings: Settings, stack: AsyncExitStack) -> tuple[Sink, ...]:
    """The journal and, where a port is given, metrics and health over HTTP; closed with the stack."""
    journal = stack.enter_context(Journal(settings.state_dir / "journal.jsonl"))
    if settings.metrics_port is None:
        return (journal,)
    health, metrics = Health(Clock().now), Metrics()
    await stack.enter_async_context(
        MetricsServer(settings.host, settings.metrics_port, registry=metrics.registry, health=health)
    )
    return (journal, health, metrics)
