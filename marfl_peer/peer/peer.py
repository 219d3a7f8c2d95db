"""A peer: puts the parts together, lives from entering the swarm to leaving it, and shows what it is doing.

`async with Peer(settings, task) as peer: await peer.run()` trains; `await peer.aggregate(model, optimizer)` averages
what a training loop of one's own has learned.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import msgspec
import torch
from torch import nn
from torch.optim import Optimizer

from marfl_peer import __version__
from marfl_peer.averaging.buffers import BufferPool
from marfl_peer.averaging.strategies.registry import STRATEGIES
from marfl_peer.averaging.vector import VectorSchema, pack
from marfl_peer.clock import Clock
from marfl_peer.config import Settings, parse_address, parse_shard
from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.facts import Fact, PeerStarted, PeerStopped, ShardClaimed, Sink
from marfl_peer.ids import DhtKey, Iteration, PeerId, RunId
from marfl_peer.learning.optimizer import MomentumSGD
from marfl_peer.learning.partition import empty_shard, split
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.learning.tasks.registry import build_initial_model, load_data
from marfl_peer.learning.trainer import Trainer
from marfl_peer.network.beacon import Beacon
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.handshake import Doorman, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links, bind_both
from marfl_peer.network.traffic import Traffic
from marfl_peer.peer.addresses import announced_address, listening_address
from marfl_peer.peer.adoption import run_key
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.entrance import Entrance
from marfl_peer.peer.groups import Groups
from marfl_peer.peer.iterations import Iterations
from marfl_peer.peer.learner import Learner, ModelAtHand
from marfl_peer.peer.progress import Progress
from marfl_peer.peer.roster import Roster, member_key
from marfl_peer.peer.rounds import RoundTools
from marfl_peer.peer.seals import Sealer
from marfl_peer.peer.states import State, States, digest_of
from marfl_peer.peer.switchboard import Switchboard
from marfl_peer.peer.training import Outcome, Training
from marfl_peer.peer.transfer import TransferTools
from marfl_peer.protocol import records
from marfl_peer.protocol.exchange import SEGMENT_FLOATS
from marfl_peer.protocol.messages import PROTOCOL_VERSION
from marfl_peer.protocol.records import MemberBody, Record, RunBody, encode_body
from marfl_peer.protocol.shards import assign_shards
from marfl_peer.protocol.view import MembershipEvent

RECORD_LIFETIME_S = 3000
REMEMBERED_FILE = "peers.json"


class Peer:
    """Enter it (`async with`) to be in the swarm. `data` spares loading the task's data; `sinks` receive all facts."""

    def __init__(
        self,
        settings: Settings,
        task: Task,
        *,
        data: TaskData | None = None,
        sinks: Sequence[Sink] = (),
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.settings, self.task = settings, task
        self.progress = Progress()
        self._data, self._clock, self._entropy = data, clock or Clock(), entropy
        self._sinks: list[Sink] = [self.progress.note, *sinks]
        self._stack = AsyncExitStack()
        self._traffic = Traffic()
        self._sightings: set[tuple[str, int]] = set()
        self._remembered: list[tuple[str, int]] = []
        self._left = False
        self._training: Training | None = None
        self._address = ("", 0)
        self._shard: int | None = None

    # entering and leaving

    async def __aenter__(self) -> Self:
        """Opens the network, finds the swarm, takes a shard and the agreed state. Raises: MarflError."""
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
        await self._stack.aclose()

    def leave(self) -> None:
        """Asks the peer to leave the swarm; `run` then returns. May be called more than once."""
        self._left = True
        if self._training is not None:
            self._training.stop()

    # what users call

    async def run(self) -> PeerStopped:
        """Trains and averages until the run is over, the target is reached, or `leave` was called."""
        training = self._the_training()
        if self._left:
            training.stop()
        stopped = await training.run()
        if stopped.reason == "left":
            self._roster.state_gone(self.peer_id, "left", "asked to leave")
        self.tell(stopped)
        return stopped

    async def aggregate(self, model: nn.Module, optimizer: Optimizer | None = None, *, samples: int = 1) -> Outcome:
        """One iteration of a training loop of one's own: averages `model` (and the momentum of `optimizer`) in place.

        `samples` weighs this peer's update. Call it after any number of own steps, at every iteration of the run;
        the model must have the schema of the task's. Raises: ConfigError, LocalProtocolError.
        """
        if VectorSchema.of(model, momentum=self._schema.has_momentum).digest != self._schema.digest:
            raise LocalProtocolError("the model is not of the task's schema: build it with task.build_model()")
        return await self._the_training().aggregate(ModelAtHand(model, optimizer), samples=samples)

    @property
    def model(self) -> nn.Module:
        """The task's model with the agreed state."""
        return self._learner.own().model

    @property
    def optimizer(self) -> MomentumSGD:
        """The paper's optimizer of `model`."""
        optimizer = self._learner.own().optimizer
        assert isinstance(optimizer, MomentumSGD)
        return optimizer

    @property
    def trainer(self) -> Trainer:
        """This peer's shard, with the paper's local update: `trainer.local_update()`."""
        assert self._learner.trainer is not None
        return self._learner.trainer

    @property
    def iteration(self) -> int:
        """The last iteration that this peer finished."""
        return int(self._iterations.iteration)

    @property
    def is_over(self) -> bool:
        """Whether the run has no iteration left, reached its target, or this peer was asked to leave."""
        return self._left or self._the_training().is_over()

    def status(self) -> dict[str, Any]:
        """What this peer tells whoever asks, as plain JSON types."""
        view = self._roster.view(Iteration(max(self._roster.iteration, 1)))
        return {
            "version": __version__,
            "run_id": self.settings.run_id,
            "peer_id": self.peer_id,
            "incarnation": self._identity.incarnation,
            "address": f"{self._address[0]}:{self._address[1]}",
            "task": self.settings.task,
            "started": self._roster.started,
            "shard": self._shard,
            "grid": list(view.grid.shape),
            "cell": view.cell_of.get(self.peer_id),
            "peers": self._peer_rows(view.members),
            "bytes_sent": self._traffic.totals(),
            **self.progress.as_dict(),
        }

    # putting the parts together

    def tell(self, fact: Fact) -> None:
        for sink in self._sinks:
            sink(fact)

    async def _open_network(self) -> None:
        settings, stack = self.settings, self._stack
        self._identity = stack.enter_context(Identity.load_or_create(settings.state_dir))
        self._identity.raise_incarnation()
        self.peer_id = self._identity.peer_id
        self._pick_model()
        self._switchboard = Switchboard(
            status=lambda: msgspec.json.encode(self.status()), run_record=lambda: records.encode(self._run_record())
        )
        host, announced = listening_address(settings), announced_address(settings)
        self._address = (announced, settings.port)
        self._links = Links(
            me=self.peer_id,
            doorman=Doorman(self._identity, self._introduction()),
            listener=self._switchboard,
            traffic=self._traffic,
            tell=self.tell,
            clock=self._clock,
            nonce=lambda: self._entropy(16),
        )
        self._roster = Roster(
            me=self.peer_id,
            run_id=RunId(settings.run_id),
            group_size=settings.group_size,
            links=self._links,
            tell=self.tell,
            on_news=self._news,
        )
        port = settings.port or bind_both(host)
        stack.push_async_callback(self._links.close)
        await self._links.listen(host, port)
        self._address = (announced, port)
        self._links.doorman.introduction = self._introduction()
        self._dht = await stack.enter_async_context(
            DhtNode(identity_id=self.peer_id, clock=self._clock, on_fact=self.tell, renew=self._renew)
        )
        await self._dht.start(host, port)
        self._traffic.dht_sent = lambda: self._dht.bytes_sent
        if settings.lan:
            await stack.enter_async_context(self._beacon(port))
        self._switchboard.roster = self._roster

    def _pick_model(self) -> None:
        """The schema, and the initial vector that all peers must agree on."""
        model = build_initial_model(self.task, self.settings.seed)
        momentum = self.settings.vector == "theta+momentum"
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = MomentumSGD(trained, lr=self.settings.lr, momentum=self.settings.momentum) if momentum else None
        self._schema = VectorSchema.of(model, momentum=momentum)
        self._initial = torch.empty(self._schema.length, dtype=torch.float32)
        pack(self._schema, model, optimizer, self._initial)

    def _introduction(self) -> Introduction:
        shared = msgspec.json.encode(self.settings.shared(), order="sorted")
        return Introduction(
            role="peer",
            run_id=self.settings.run_id,
            settings_digest=hashlib.sha256(shared).hexdigest()[:40],
            schema_digest=self._schema.digest,
            host=self._address[0],
            port=self._address[1],
        )

    def _beacon(self, port: int) -> Beacon:
        host = self._address[0]
        return Beacon(
            identity=self._identity,
            run_id=RunId(self.settings.run_id),
            port=port,
            clock=self._clock,
            on_peer=lambda sighting: self._sightings.add((sighting.host, sighting.port)),
            on_fact=self.tell,
            interface=host,
        )

    async def _enter_swarm(self) -> None:
        self._remembered = self._read_remembered()
        self._entrance = Entrance(
            me=self.peer_id,
            settings=self.settings,
            roster=self._roster,
            links=self._links,
            dht=self._dht,
            clock=self._clock,
            tell=self.tell,
            seeds=self._seeds,
            member_record=self._member_record,
            state_digest=lambda: digest_of(self._initial),
        )
        self._build_aggregation()
        self._switchboard.entrance = self._entrance
        host, port = self._address
        self.tell(
            PeerStarted(
                peer_id=self.peer_id,
                incarnation=self._identity.incarnation,
                run_id=self.settings.run_id,
                host=host,
                port=port,
                task=self.settings.task,
            )
        )
        entry = await self._entrance.enter()
        self._take_shard()
        self._states.agree(State(0, self._initial, ()))
        self._iterations.must_hold(entry.first_iteration - 1)
        self._remember()
        self._stack.callback(self._remember)
        await self._publish_run()
        needs_state = entry.contact is not None
        await self._the_training().start(entry.contact if needs_state else None, needs_state=needs_state)

    def _build_aggregation(self) -> None:
        learner = self._learner = Learner(self._schema, seed=self.settings.seed)
        self._stack.callback(learner.close)
        hasher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hasher")
        self._stack.callback(hasher.shutdown)
        pool = BufferPool(self._schema.length)
        tools = RoundTools(
            me=self.peer_id,
            transfer=TransferTools(
                links=self._links,
                strategy=STRATEGIES[self.settings.strategy],
                sealer=Sealer(self._identity, self.settings.run_id),
                executor=hasher,
                scratch=torch.empty(SEGMENT_FLOATS, dtype=torch.float32),
            ),
            pool=pool,
            exchange=self.settings.exchange,
            clock=self._clock,
            tell=self.tell,
        )
        self._aggregator = Aggregator(
            tools,
            on_other_view=lambda peer: self._roster.send_all(peer, answer_wanted=True),
            on_behind=lambda iteration: self._iterations.behind(iteration),
        )
        self._stack.callback(self._aggregator.close)
        self._states = States(
            links=self._links,
            clock=self._clock,
            tell=self.tell,
            length=self._schema.length,
            in_thread=lambda work: asyncio.get_running_loop().run_in_executor(hasher, work),
        )
        self._stack.push_async_callback(self._states.close)
        self._groups = Groups(
            me=self.peer_id,
            run_id=RunId(self.settings.run_id),
            identity=self._identity,
            dht=self._dht,
            links=self._links,
            clock=self._clock,
            address=lambda: self._address,
        )
        self._stack.push_async_callback(self._groups.close)
        self._iterations = Iterations(
            me=self.peer_id,
            roster=self._roster,
            groups=self._groups,
            aggregator=self._aggregator,
            states=self._states,
            pool=pool,
            clock=self._clock,
            tell=self.tell,
        )
        self._training = Training(
            settings=self.settings,
            learner=learner,
            iterations=self._iterations,
            aggregator=self._aggregator,
            roster=self._roster,
            pool=pool,
            clock=self._clock,
            tell=self.tell,
            counters=lambda: (self._traffic.totals(), self._groups.lookups),
        )
        self._switchboard.aggregator = self._aggregator
        self._switchboard.states = self._states

    def _the_training(self) -> Training:
        if self._training is None:
            raise LocalProtocolError("enter the peer first: async with Peer(settings, task) as peer")
        return self._training

    # news

    def _news(self, events: tuple[MembershipEvent, ...]) -> None:
        """Members joined, left or were lost."""
        if self._training is None:
            return
        for event in events:
            if event.kind == "joined":
                self._aggregator.back(event.peer_id)
            elif event.peer_id != self.peer_id:
                self._aggregator.gone(event.peer_id)
            elif event.incarnation == self._identity.incarnation and not self._left:
                self._deny_loss()
        self._iterations.view_may_have_moved()

    def _deny_loss(self) -> None:
        """Others think that this peer is lost: only a new incarnation of its own can say otherwise."""
        self._identity.raise_incarnation()
        self._links.doorman.introduction = self._introduction()
        self._roster.state_joined(records.encode(self._member_record()), max(self._roster.iteration, 1))

    # records

    def _member_record(self) -> Record:
        host, port = self._address
        index, count = parse_shard(self.settings.shard) if self.settings.shard else (self._shard, self.settings.shards)
        body = MemberBody(host=host, port=port, weight=0, shard=index, shards=count, version=PROTOCOL_VERSION)
        key = member_key(RunId(self.settings.run_id), self.peer_id)
        return self._identity.sign_record(key=key, body=encode_body(body), expires_at=self._expiry())

    def _run_record(self) -> Record:
        body = RunBody(
            settings=self.settings.shared(),  # type: ignore[arg-type]  # all shared settings are scalars
            schema_digest=self._schema.digest,
            founder=self.peer_id,
        )
        key = DhtKey(run_key(self.settings.run_id))
        return self._identity.sign_record(key=key, body=encode_body(body), expires_at=self._expiry())

    def _renew(self, record: Record, expires_at: int) -> Record:
        """A record of this peer with a new expiry, for the DHT's upkeep."""
        return self._identity.sign_record(
            key=DhtKey(record.key), body=record.body, expires_at=expires_at, view_digest=record.view_digest
        )

    def _expiry(self) -> int:
        return int(self._clock.wall()) + RECORD_LIFETIME_S

    async def _publish_run(self) -> None:
        """The lowest id of the first view puts the run record into the DHT."""
        members = self._roster.view(Iteration(1)).members
        if members and members[0] == self.peer_id:
            await self._dht.publish(self._run_record(), purpose="run")

    # data

    def _take_shard(self) -> None:
        """The shard that the events give this peer, and the trainer for it. Raises: ConfigError."""
        owners = assign_shards(self._roster.membership.events(), shards=self.settings.shards, claim_of=_claim)
        self._shard = owners.get(self.peer_id)
        data = self._data if self._data is not None else load_data(self.task, self.settings.data_dir)
        shards = split(
            data.train_labels,
            data.test_labels,
            shards=self.settings.shards,
            scheme=self.settings.partition,
            seed=self.settings.seed,
        )
        shard = empty_shard() if self._shard is None else shards[self._shard]
        self._learner.trainer = Trainer(self.task, data, shard, self.settings)
        self.tell(ShardClaimed(shard=self._shard, shards=self.settings.shards, samples=self._learner.trainer.samples))

    # addresses

    def _seeds(self) -> list[tuple[str, int]]:
        """Given addresses, then what the beacon saw, then whom this peer knew last time."""
        given = [parse_address(address) for address in self.settings.bootstrap]
        own = {self._address, ("127.0.0.1", self._address[1]) if self._address[0] == "127.0.0.1" else self._address}
        known = [*given, *sorted(self._sightings), *self._remembered]
        return [address for address in dict.fromkeys(known) if address not in own]

    def _remember(self) -> None:
        """Writes down the members' addresses for the next start."""
        known = [(body.host, body.port) for peer, body in sorted(self._roster.bodies.items()) if peer != self.peer_id]
        if known:
            path = self.settings.state_dir / REMEMBERED_FILE
            path.write_bytes(msgspec.json.encode({"run_id": self.settings.run_id, "peers": known[:256]}))

    def _read_remembered(self) -> list[tuple[str, int]]:
        path = self.settings.state_dir / REMEMBERED_FILE
        try:
            known = msgspec.json.decode(path.read_bytes(), type=_Remembered)
        except (OSError, msgspec.DecodeError):
            return []
        return known.peers if known.run_id == self.settings.run_id else []

    def _peer_rows(self, members: Collection[PeerId]) -> list[dict[str, Any]]:
        rows = []
        for peer in members:
            body = self._roster.bodies.get(peer)
            latest = self._roster.membership.status(peer)
            rows.append(
                {
                    "peer_id": peer,
                    "address": f"{body.host}:{body.port}" if body is not None else "",
                    "status": latest.kind if latest is not None else "unknown",
                    "connected": peer == self.peer_id or self._links.is_connected(peer),
                }
            )
        return rows


class _Remembered(msgspec.Struct, frozen=True):
    run_id: str
    peers: list[tuple[str, int]]


def _claim(event: MembershipEvent) -> int | None:
    """The shard that a joining claims."""
    try:
        body = records.decode_body(records.decode(event.record).body)
    except RemoteProtocolError:
        return None
    return body.shard if isinstance(body, MemberBody) else None
