"""The peer for plain scripts: the same calls without `async`. The peer lives on an event loop in a thread of its own.

Knows `Peer` and its life; nothing of rounds or messages. Between two calls the model belongs to the script.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from types import TracebackType
from typing import Self, TypeVar

from torch import nn
from torch.optim import Optimizer

from marfl_peer.config import KINDS, Settings
from marfl_peer.errors import LocalProtocolError
from marfl_peer.facts import PeerStopped, Sink
from marfl_peer.learning.optimizer import MomentumSGD
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.learning.tasks.registry import load_task
from marfl_peer.learning.trainer import Trainer
from marfl_peer.peer.adoption import adopt_run
from marfl_peer.peer.peer import Peer
from marfl_peer.peer.scheme import Scheme
from marfl_peer.peer.training import Outcome

Result = TypeVar("Result")


class BlockingPeer:
    """Enter it (`with`) to be in the swarm; calls then block until they are done. To be used by one thread.

    With bootstrap addresses, the settings of the run that they are in are adopted; a shared setting in `stated` that
    contradicts them is an error. By default those are stated that are not at their default. Without `task` it is the
    one that the run's settings name. `sinks` are called in the peer's thread. `scheme`: see `Peer`.
    """

    def __init__(
        self,
        settings: Settings,
        task: Task | None = None,
        *,
        stated: Collection[str] | None = None,
        data: TaskData | None = None,
        sinks: Sequence[Sink] = (),
        scheme: Scheme | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._settings, self._task, self._data, self._sinks = settings, task, data, sinks
        self._scheme = scheme
        self._stated = _not_at_default(settings) if stated is None else stated
        self._loop_factory = loop_factory
        self._peer: Peer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._entered: concurrent.futures.Future[Peer] = concurrent.futures.Future()
        self._stopped: PeerStopped | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="marfl-peer")

    # entering and leaving

    def __enter__(self) -> Self:
        """Finds the swarm and takes the agreed state. Raises: MarflError."""
        self._thread.start()
        try:
            self._peer = self._entered.result()
        except BaseException:  # also Ctrl+C while the swarm is sought
            self._tell_loop(self._end_life)
            self._thread.join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the swarm; where the run is over, only after those who still need this peer's results have them."""
        self._tell_loop(self._closing.set)
        try:
            self._thread.join()
        except BaseException:  # Ctrl+C: at once, then
            self._tell_loop(self._end_life)
            self._thread.join()
            raise
        if self._failure is not None and error is None:
            raise self._failure

    # what users call

    def aggregate(self, model: nn.Module, optimizer: Optimizer | None = None, *, samples: int = 1) -> Outcome:
        """One iteration of a training loop of one's own: averages `model` (and the momentum of `optimizer`) in place.

        `samples` weighs this peer's update. Raises: ConfigError, LocalProtocolError.
        """
        return self._call(self._the_peer().aggregate(model, optimizer, samples=samples))

    def run(self) -> PeerStopped:
        """Trains on this peer's shard and averages until the run is over or reached its target."""
        self._stopped = self._call(self._the_peer().run())
        return self._stopped

    @property
    def model(self) -> nn.Module:
        """The task's model with the agreed state."""
        return self._the_peer().model

    @property
    def optimizer(self) -> MomentumSGD:
        """The paper's optimizer of `model`."""
        return self._the_peer().optimizer

    @property
    def trainer(self) -> Trainer:
        """This peer's shard, with the paper's local update: `trainer.local_update()`."""
        return self._the_peer().trainer

    @property
    def settings(self) -> Settings:
        """This peer's settings, those of the run adopted."""
        return self._the_peer().settings

    @property
    def iteration(self) -> int:
        """The last iteration that this peer finished."""
        return self._the_peer().iteration

    @property
    def is_over(self) -> bool:
        """Whether the run has no iteration left, or reached its target."""
        return self._the_peer().is_over

    # the peer's thread

    def _work(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._live())
        except BaseException as error:
            # Raised again in the script's thread: where it enters, or where it leaves.
            if self._entered.done():
                self._failure = error
            else:
                self._entered.set_exception(error)

    async def _live(self) -> None:
        self._loop, self._life = asyncio.get_running_loop(), asyncio.current_task()
        settings = await adopt_run(self._settings, self._stated)
        task = self._task
        if task is None:
            task = load_task(
                settings.task, encoder=settings.encoder, data_dir=settings.data_dir, folder=settings.task_dir
            )
        async with Peer(settings, task, data=self._data, sinks=self._sinks, scheme=self._scheme) as peer:
            self._entered.set_result(peer)
            await self._closing.wait()
            if self._stopped is None:
                if not peer.is_over:
                    peer.leave()
                self._stopped = await peer.run()  # says that this peer left, or serves those who are late

    # between the threads

    def _the_peer(self) -> Peer:
        if self._peer is None or not self._thread.is_alive():
            raise LocalProtocolError("use the peer inside of its with block: with BlockingPeer(settings) as peer")
        return self._peer

    def _call(self, work: Coroutine[object, object, Result]) -> Result:
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # what it raised itself, or Ctrl+C here: then it must not go on alone
            future.cancel()
            raise

    def _tell_loop(self, what: Callable[[], object]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)

    def _end_life(self) -> None:
        if self._life is not None:
            self._life.cancel()


def _not_at_default(settings: Settings) -> frozenset[str]:
    defaults = Settings()
    return frozenset(name for name in KINDS if getattr(settings, name) != getattr(defaults, name))
