"""A peer, from entering the swarm to leaving it: the public face of this package.

`async with Peer(settings, task) as peer: await peer.run()` trains; `await peer.aggregate(model, optimizer)` averages
what a training loop of one's own has learned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import msgspec
from torch import nn
from torch.optim import Optimizer

from marfl_peer import __version__
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError, LocalProtocolError
from marfl_peer.facts import Fact, PeerStarted, PeerStopped, ShardClaimed, Sink, StateRejected, StateResumed
from marfl_peer.ids import Iteration, PeerId, RunId
from marfl_peer.learning.memory import Heap
from marfl_peer.learning.optimizer import MomentumSGD
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.learning.trainer import Trainer
from marfl_peer.observe.status import Status
from marfl_peer.peer.assembly import Aggregation, Network, build_aggregation, introduction, open_network
from marfl_peer.peer.entrance import Entrance
from marfl_peer.peer.keeper import PRIVACY_PART
from marfl_peer.peer.learner import ModelAtHand
from marfl_peer.peer.outfit import Outfit, claimed_shard, data_for, outfit_of, schema_of, trainer_for
from marfl_peer.peer.outgoing import Outgoing
from marfl_peer.peer.prober import Prober
from marfl_peer.peer.progress import Progress
from marfl_peer.peer.resuming import Resumed, read_state, restore_
from marfl_peer.peer.reunion import Reunion
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.scheme import Mar, Scheme, check_scheme
from marfl_peer.peer.statements import Statements
from marfl_peer.peer.switchboard import Switchboard
from marfl_peer.peer.training import Outcome
from marfl_peer.protocol import records
from marfl_peer.protocol.messages import PROTOCOL_VERSION
from marfl_peer.protocol.participation import Stage
from marfl_peer.protocol.restart import Held
from marfl_peer.protocol.shards import assign_shards
from marfl_peer.protocol.view import MembershipEvent


class Peer:
    """Enter it (`async with`) to be in the swarm. `data` spares loading the task's data; `sinks` receive all facts;
    `heap` is that of a process which is there for this peer alone; `scheme`: how groups come about and what they do."""

    _outfit: Outfit
    _network: Network
    _roster: Roster
    _entrance: Entrance
    _statements: Statements
    _parts: Aggregation
    _found: Resumed | StateRejected | None
    _prober: Prober
    _outgoing: Outgoing

    def __init__(
        self,
        settings: Settings,
        task: Task,
        *,
        data: TaskData | None = None,
        sinks: Sequence[Sink] = (),
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        heap: Heap | None = None,
        scheme: Scheme | None = None,
    ) -> None:
        """Raises: ConfigError where `scheme`, by default MAR, is not that of the setting `aggregation`."""
        self._scheme = Mar() if scheme is None else scheme
        check_scheme(self._scheme, settings)
        self.settings, self.task = settings, task
        self._heap = heap
        self._data, self._clock, self._entropy = data, clock or Clock(), entropy
        self.progress = Progress(self._clock)
        self._began = 0.0
        self._sinks: list[Sink] = [self.progress.note, *sinks]
        self._stack = AsyncExitStack()
        self._left = False
        self._entered = False
        self._ran = False

    # entering and leaving

    async def __aenter__(self) -> Self:
        """Opens the network, finds the swarm, takes a shard and the agreed state. Raises: MarflError."""
        if self._data is None:
            self._data = data_for(self.task, self.settings)  # what is missing shows before others count on this peer
        try:
            await self._open_network()
            await self._enter_swarm()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves: in the middle of the run with a word to the others, after it when late ones have their results."""
        try:
            if self._entered and error is None and not self._ran:
                await self._wind_up()
        finally:
            await self._stack.aclose()

    def leave(self) -> None:
        """Asks the peer to leave the swarm; `run` then returns. May be called more than once."""
        self._left = True
        if self._entered:
            self._parts.training.stop()

    # what users call

    async def run(self) -> PeerStopped:
        """Trains and averages until the run is over, the target is reached, or `leave` was called."""
        training = self._inside().training
        self._ran = True
        if self._left:
            training.stop()
        stopped = await training.run()
        if stopped.reason in ("left", "budget_reached"):
            self._roster.state_gone(self.peer_id, "left", stopped.detail)
        self.tell(stopped)
        return stopped

    async def aggregate(self, model: nn.Module, optimizer: Optimizer | None = None, *, samples: int = 1) -> Outcome:
        """One iteration of a training loop of one's own: averages `model` (and the momentum of `optimizer`) in place.

        `samples` weighs this peer's update; with partial participation it counts only where `is_to_update`. Call it
        after any number of own steps, at every iteration of the run. The model must have the schema of the task's;
        start from `peer.model`, which holds the agreed state.
        Raises: ConfigError, LocalProtocolError.
        """
        if self.settings.overlap:
            remedy = "an update beside the exchange is run()'s: use that, or a run without --overlap"
            raise ConfigError("overlap", "true", remedy)
        if schema_of(model, self.settings).digest != self._outfit.schema.digest:
            raise LocalProtocolError("the model is not of the task's schema: build it with task.build_model()")
        return await self._inside().training.aggregate(ModelAtHand(model, optimizer), samples=samples)

    @property
    def peer_id(self) -> PeerId:
        return self._network.identity.peer_id

    @property
    def model(self) -> nn.Module:
        """The task's model with the agreed state; while `run` is under way, the one that trains."""
        return self.trainer.model

    @property
    def optimizer(self) -> MomentumSGD:
        """The paper's optimizer of `model`."""
        return self.trainer.optimizer

    @property
    def trainer(self) -> Trainer:
        """This peer's shard, with the paper's local update: `trainer.local_update()`."""
        trainer = self._inside().learner.trainer
        assert trainer is not None
        return trainer

    @property
    def iteration(self) -> int:
        """The last iteration that this peer finished."""
        return int(self._inside().iterations.iteration)

    @property
    def is_to_update(self) -> bool:
        """Whether this peer is one of those that train in the iteration to come: always, unless participation is
        partial. A training loop of one's own may skip its steps where it is not."""
        return self._inside().training.takes_part(Stage.UPDATE)

    @property
    def is_over(self) -> bool:
        """Whether the run has no iteration left, reached its target, or this peer was asked to leave."""
        return self._left or self._inside().training.is_over()

    def status(self) -> dict[str, Any]:
        """What this peer tells whoever asks, as plain JSON types: `observe.status.Status`."""
        view = self._roster.view(Iteration(max(self._roster.iteration, 1)))
        network = self._network
        host, port = network.address
        is_dial_only = self.settings.dial_only
        cell = view.cell_of.get(self.peer_id)
        fields = {
            "version": __version__,
            "protocol": PROTOCOL_VERSION,
            "time": self._clock.wall(),
            "uptime_s": self._clock.now() - self._began,
            "run_id": self.settings.run_id,
            "peer_id": self.peer_id,
            "incarnation": network.identity.incarnation,
            "address": "" if is_dial_only else f"{host}:{port}",
            "dial_only": is_dial_only,
            "task": self.settings.task,
            "started": self._roster.started,
            "shard": self._statements.shard,
            "grid": view.grid.shape,
            "cell": cell,
            "coordinates": None if cell is None else view.grid.coordinates(cell),
            "peers": self._roster.rows(view),
            "peers_seen": len(self._roster.seen()),
            "peers_known": len(self._roster.ever_known()),
            "bytes_sent": network.traffic.totals(),
            "bytes_received": network.traffic.received_bytes + network.dht.bytes_received,
            "iterations": self.settings.iterations,
            **self.progress.as_dict(),
        }
        plain: dict[str, Any] = msgspec.to_builtins(msgspec.convert(fields, Status))
        return plain

    async def _wind_up(self) -> None:
        """The end of a training loop of one's own."""
        if self._parts.training.is_over():
            await self._parts.training.serve_late_ones()
        else:
            self._left = True
            self._roster.state_gone(self.peer_id, "left", "its training loop ended")

    # entering, step by step

    def tell(self, fact: Fact) -> None:
        for sink in self._sinks:
            sink(fact)

    async def _open_network(self) -> None:
        settings = self.settings
        self._began = self._clock.now()
        self._outfit = outfit_of(self.task, settings)
        switchboard = Switchboard(
            status=lambda: msgspec.json.encode(self.status()),
            run_record=lambda: records.encode(self._statements.run()),
        )
        self._network = network = await open_network(
            self._stack,
            settings,
            self._outfit,
            switchboard=switchboard,
            clock=self._clock,
            entropy=self._entropy,
            tell=self.tell,
        )
        self._statements = Statements(
            identity=network.identity,
            settings=settings,
            schema_digest=self._outfit.schema.digest,
            clock=self._clock,
            address=lambda: network.address,
        )
        self._roster = Roster(
            me=self.peer_id,
            run_id=RunId(settings.run_id),
            group_size=self._scheme.group_size(settings),
            links=network.links,
            clock=self._clock,
            tell=self.tell,
            on_news=self._news,
            incarnation=lambda: network.identity.incarnation,
            last_iteration=settings.iterations,
            born=network.identity.incarnation,
        )
        self._parts = build_aggregation(
            self._stack,
            settings,
            self._outfit,
            network,
            self._roster,
            scheme=self._scheme,
            clock=self._clock,
            entropy=self._entropy,
            tell=self.tell,
            heap=self._heap,
        )
        self._found = await self._parts.learner.in_thread(self._read_state)
        resumed, privacy = self._resumed(), self._parts.privacy
        if resumed is not None and privacy is not None:
            privacy.check(resumed.manifest.parts.get(PRIVACY_PART, {}))
        if resumed is not None:
            self._statements.shard = resumed.manifest.shard
            network.acquaintances.met(resumed.addresses())
        self._entrance = Entrance(
            me=self.peer_id,
            settings=settings,
            roster=self._roster,
            links=network.links,
            dht=network.dht,
            clock=self._clock,
            tell=self.tell,
            seeds=network.acquaintances.addresses,
            look_up=network.acquaintances.look_up,
            member_record=self._statements.member,
            held=Held(0, self._outfit.digest) if resumed is None else resumed.held,
        )
        self._outgoing = Outgoing(roster=self._roster, links=network.links, clock=self._clock)
        parts = self._parts
        reunion = Reunion(
            me=self.peer_id,
            roster=self._roster,
            links=network.links,
            on_behind=parts.iterations.behind,
            on_beat=parts.aggregator.other_is_at,
            on_unheard=self._say_again,
        )
        self._prober = Prober(
            roster=self._roster,
            reunion=reunion,
            links=network.links,
            dht=network.dht,
            acquaintances=network.acquaintances,
            clock=self._clock,
            tell=self.tell,
            member_record=self._statements.member,
        )
        switchboard.plug_in(
            self._roster,
            self._entrance,
            parts.aggregator,
            parts.states,
            parts.catching_up,
            reunion,
            parts.distilling,
        )

    async def _enter_swarm(self) -> None:
        host, port = self._network.local
        self.tell(
            PeerStarted(
                peer_id=self.peer_id,
                incarnation=self._network.identity.incarnation,
                run_id=self.settings.run_id,
                host=host,
                port=port,
                task=self.settings.task,
                vector_bytes=4 * self._outfit.schema.length,
            )
        )
        resumed = self._resumed()
        privacy = self._parts.privacy
        is_spent = privacy is not None and privacy.is_spent
        if resumed is not None and (resumed.is_final(self.settings) or is_spent):
            self._prepare_trainer(resumed.manifest.shard)
            await self._take_up(resumed)
            self._parts.training.was_over()
            self._entered = True
            return
        self._stack.push_async_callback(self._outgoing.close)
        if self.settings.dial_only:
            self._outgoing.open()
        entry = await self._entrance.enter()
        self._remember()
        self._stack.callback(self._remember)
        self._prepare_trainer(self._own_shard())
        if resumed is not None and resumed.state.iteration >= entry.first_iteration:
            # Nobody further on was found: those that are behind are to come to this state's iteration without it.
            self._parts.aggregator.leave_out(resumed.state.iteration)
        await self._take_up(resumed)
        self._parts.iterations.must_hold(entry.first_iteration - 1)
        if self._roster.view(Iteration(1)).members[:1] == (self.peer_id,):
            await self._network.dht.publish(self._statements.run(), purpose="run")
        self._entered = True
        self._stack.push_async_callback(self._prober.close)
        self._prober.open()
        await self._parts.training.start(entry.sources, entry.digest)

    def _read_state(self) -> Resumed | StateRejected | None:
        return read_state(self.settings.state_dir, self.settings, self._outfit.schema, peer_id=self.peer_id)

    def _resumed(self) -> Resumed | None:
        return self._found if isinstance(self._found, Resumed) else None

    async def _take_up(self, resumed: Resumed | None) -> None:
        """Holds the state that this peer brings along: that of its disk, or the initial one."""
        if isinstance(self._found, StateRejected):
            self.tell(self._found)
        initial, self._outfit = self._outfit.initial, self._outfit.without_initial()
        if resumed is None:
            self._parts.iterations.hold(initial)
            return
        began = self._clock.now()
        learner, state = self._parts.learner, resumed.state
        self._parts.iterations.hold(state)
        await learner.adopt(learner.own(), state.vector, state.maxima)
        trainer = learner.own_trainer()
        await learner.in_thread(lambda: restore_(trainer, resumed))
        self.tell(
            StateResumed(
                iteration=state.iteration,
                bytes_read=resumed.manifest.bytes,
                epoch=trainer.position.epoch,
                offset=trainer.position.offset,
                seconds=self._clock.now() - began,
            )
        )

    def _own_shard(self) -> int | None:
        """The shard that the membership events give this peer."""
        events = self._roster.membership.events()
        owners = assign_shards(events, shards=self.settings.shards, claim_of=claimed_shard)
        return owners.get(self.peer_id)

    def _prepare_trainer(self, shard: int | None) -> None:
        """Raises: ConfigError."""
        self._statements.shard = shard
        trainer = trainer_for(self.task, self.settings, shard=shard, data=self._data)
        self._parts.learner.trainer = trainer
        self.tell(ShardClaimed(shard=shard, shards=self.settings.shards, samples=trainer.samples))

    def _remember(self) -> None:
        self._network.acquaintances.remember(self._roster.addresses())

    def _inside(self) -> Aggregation:
        if not self._entered:
            raise LocalProtocolError("enter the peer first: async with Peer(settings, task) as peer")
        return self._parts

    # news

    def _news(self, events: tuple[MembershipEvent, ...]) -> None:
        """Members joined, left or were lost."""
        if self.settings.dial_only:
            self._outgoing.look()
        if not self._entered:
            self._entrance.view_may_be_whole()
            return
        identity, gone = self._network.identity, frozenset(self._roster.gone())
        for event in events:
            if event.kind == "joined":
                self._parts.aggregator.back(event.peer_id)
            elif event != self._roster.membership.status(event.peer_id):
                continue  # old news: it came back since; or a merge, which is about nobody
            elif event.peer_id != self.peer_id:
                # What another part of the swarm thinks of this one's members is not so yet.
                if event.peer_id in gone:
                    self._parts.aggregator.gone(event.peer_id)
            elif event.incarnation == identity.incarnation and not self._left:
                self._deny_loss()
        self._parts.iterations.view_may_have_moved()

    def _deny_loss(self) -> None:
        """Others think that this peer is lost: only a new incarnation of its own can say otherwise."""
        network = self._network
        network.identity.raise_incarnation()
        digest = self._outfit.schema.digest
        network.links.doorman.introduction = introduction(self.settings, digest, network.address)
        self._roster.state_joined(records.encode(self._statements.member()), self._roster.own_dating())

    def _say_again(self, iteration: int) -> None:
        """The swarm, which is in that iteration, never heard that this peer is not lost."""
        self._roster.is_elsewhere(iteration)
        if not self._left:
            self._deny_loss()
