"""Puts a peer's parts together: first the network, then what averages over it. Nothing here decides anything."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np

from marfl_peer.averaging.buffers import BufferPool, SegmentPool
from marfl_peer.averaging.codecs.layout import Layout
from marfl_peer.averaging.codecs.registry import parse_codecs
from marfl_peer.averaging.codecs.residuals import steps_pool
from marfl_peer.averaging.sketch import sketch
from marfl_peer.averaging.strategies.registry import STRATEGIES
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.facts import Sink
from marfl_peer.ids import RunId
from marfl_peer.learning.memory import Heap
from marfl_peer.network.beacon import Beacon
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.handshake import Doorman, Introduction
from marfl_peer.network.identity import Identity
from marfl_peer.network.links import Links, bind_both
from marfl_peer.network.traffic import Traffic
from marfl_peer.peer.acquaintances import Acquaintances
from marfl_peer.peer.addresses import ANY, NOWHERE, announced_address, listening_address
from marfl_peer.peer.aggregator import Aggregator
from marfl_peer.peer.attester import Attester
from marfl_peer.peer.catchup import CatchUp
from marfl_peer.peer.distilling import Distilling
from marfl_peer.peer.feedback import Feedback
from marfl_peer.peer.flows import Flow
from marfl_peer.peer.iterations import Iterations
from marfl_peer.peer.keeper import Keeper
from marfl_peer.peer.learner import Learner
from marfl_peer.peer.outfit import Outfit
from marfl_peer.peer.placements import Placement
from marfl_peer.peer.privacy import Privacy
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.rounds import RoundTools
from marfl_peer.peer.saving import Saver
from marfl_peer.peer.scheme import Scheme, Site
from marfl_peer.peer.seals import Sealer
from marfl_peer.peer.states import States
from marfl_peer.peer.switchboard import Switchboard
from marfl_peer.peer.training import Training
from marfl_peer.peer.transfer import TransferTools
from marfl_peer.protocol.exchange import SEGMENT_FLOATS
from marfl_peer.protocol.view import View


@dataclass(slots=True, kw_only=True)
class Network:
    """A listening peer: reachable, but in no swarm yet. `address` is what it announces, `local` where it listens for
    those on this machine."""

    address: tuple[str, int]
    local: tuple[str, int]
    identity: Identity
    traffic: Traffic
    links: Links
    dht: DhtNode
    switchboard: Switchboard
    acquaintances: Acquaintances


@dataclass(slots=True, kw_only=True)
class Aggregation:
    """What takes part in iterations."""

    learner: Learner
    states: States
    catching_up: CatchUp
    placement: Placement
    aggregator: Aggregator
    iterations: Iterations
    distilling: Distilling
    training: Training
    privacy: Privacy | None


def introduction(settings: Settings, schema_digest: str, address: tuple[str, int]) -> Introduction:
    """What a peer says at every door."""
    shared = msgspec.json.encode(settings.shared(), order="sorted")
    return Introduction(
        role="peer",
        run_id=settings.run_id,
        settings_digest=hashlib.sha256(shared).hexdigest()[:40],
        schema_digest=schema_digest,
        host=address[0],
        port=address[1],
    )


async def open_network(
    stack: AsyncExitStack,
    settings: Settings,
    outfit: Outfit,
    *,
    switchboard: Switchboard,
    clock: Clock,
    entropy: Callable[[int], bytes],
    tell: Sink,
) -> Network:
    """Identity, TCP, DHT and beacon; closed with the stack. Raises: ConfigError."""
    identity = stack.enter_context(Identity.load_or_create(settings.state_dir))
    identity.raise_incarnation()
    host = listening_address(settings)
    port = settings.port or bind_both(host)
    address = NOWHERE if settings.dial_only else (announced_address(settings), port)
    traffic = Traffic()
    links = Links(
        me=identity.peer_id,
        doorman=Doorman(identity, introduction(settings, outfit.schema.digest, address)),
        listener=switchboard,
        traffic=traffic,
        tell=tell,
        clock=clock,
        nonce=lambda: entropy(16),
        listens=not settings.dial_only,
        knows_neighbours=settings.same_machine == "unix",
    )
    stack.push_async_callback(links.close)
    await links.listen(host, port)
    node = DhtNode(
        identity_id=identity.peer_id,
        clock=clock,
        on_fact=tell,
        renew=identity.renew_record,
        entropy=entropy,
        serves=not settings.dial_only,
    )
    dht = await stack.enter_async_context(node)
    await dht.start(ANY if settings.dial_only else host, port)
    traffic.dht_sent = lambda: dht.bytes_sent
    acquaintances = Acquaintances(settings, own=lambda: address)
    if settings.lan:
        beacon = Beacon(
            identity=identity,
            run_id=RunId(settings.run_id),
            port=port,
            clock=clock,
            on_peer=lambda sighting: acquaintances.sighted((sighting.host, sighting.port)),
            on_fact=tell,
            interface=address[0],
        )
        await stack.enter_async_context(beacon)
    return Network(
        address=address,
        local=(host if settings.dial_only else address[0], port),
        identity=identity,
        traffic=traffic,
        links=links,
        dht=dht,
        switchboard=switchboard,
        acquaintances=acquaintances,
    )


def build_aggregation(
    stack: AsyncExitStack,
    settings: Settings,
    outfit: Outfit,
    network: Network,
    roster: Roster,
    *,
    scheme: Scheme,
    clock: Clock,
    tell: Sink,
    entropy: Callable[[int], bytes] = os.urandom,
    heap: Heap | None = None,
) -> Aggregation:
    """Everything between a local update and the agreed state; closed with the stack. Raises: ConfigError."""
    me = network.identity.peer_id
    learner = Learner(outfit.schema, seed=settings.seed, heap=heap)
    stack.callback(learner.close)
    hasher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hasher")
    stack.callback(hasher.shutdown)
    pool = BufferPool(outfit.schema.length)
    attester = Attester(network.identity, settings.run_id)
    states = States(links=network.links, attester=attester, in_thread=partial(_in_thread, hasher))
    stack.push_async_callback(states.close)
    catching_up = CatchUp(
        links=network.links,
        attester=attester,
        clock=clock,
        tell=tell,
        length=outfit.schema.length,
        maxima_count=len(outfit.initial.maxima),
        in_thread=partial(_in_thread, hasher),
    )
    layout = Layout.of(outfit.schema, parse_codecs(settings.codec))
    flow = scheme.flow(settings)
    theta_length = outfit.schema.theta_length if settings.trace_mixing else None
    tools = _round_tools(
        settings,
        network,
        flow=flow,
        pool=pool,
        layout=layout,
        theta_length=theta_length,
        delay_s=lambda view, slowest: distilling.delay_s(view, slowest),
        clock=clock,
        tell=tell,
    )
    aggregator = Aggregator(
        tools,
        on_other_view=lambda peer: roster.send_all(peer, answer_wanted=True),
        on_behind=lambda iteration: iterations.behind(iteration),
        is_reborn=roster.is_reborn,
        steps=lambda running, iteration: iterations.steps(running, iteration),
    )
    stack.callback(aggregator.close)
    site = Site(
        settings=settings,
        identity=network.identity,
        links=network.links,
        dht=network.dht,
        acquaintances=network.acquaintances,
        address=lambda: network.address,
        roster=roster,
        aggregator=aggregator,
        clock=clock,
        vector_bytes=4 * outfit.schema.length,
    )
    placement = scheme.placement(site)
    stack.push_async_callback(placement.close)
    iterations = Iterations(
        me=me,
        roster=roster,
        placement=placement,
        aggregator=aggregator,
        states=states,
        catching_up=catching_up,
        last=settings.iterations,
        is_all_exact=tools.layout.is_exact,
        clock=clock,
        tell=tell,
    )
    privacy = Privacy.open(settings, outfit.schema, learner=learner, entropy=entropy, tell=tell)
    distilling = Distilling(
        settings,
        outfit.schema,
        learner=learner,
        iterations=iterations,
        links=network.links,
        clock=clock,
        tell=tell,
    )
    stack.push_async_callback(distilling.close)
    saver = Saver(clock=clock, tell=tell)
    stack.push_async_callback(saver.close)
    keeper = Keeper(
        settings=settings, identity=network.identity, learner=learner, roster=roster, saver=saver, privacy=privacy
    )
    training = Training(
        settings=settings,
        learner=learner,
        iterations=iterations,
        aggregator=aggregator,
        distilling=distilling,
        roster=roster,
        pool=pool,
        clock=clock,
        tell=tell,
        counters=lambda: (network.traffic.totals(), placement.lookups, network.dht.calls),
        keeper=keeper,
        saver=saver,
        privacy=privacy,
    )
    return Aggregation(
        learner=learner,
        states=states,
        catching_up=catching_up,
        placement=placement,
        aggregator=aggregator,
        iterations=iterations,
        distilling=distilling,
        training=training,
        privacy=privacy,
    )


async def _in_thread(executor: ThreadPoolExecutor, work: Callable[[], str]) -> str:
    return await asyncio.get_running_loop().run_in_executor(executor, work)


def _round_tools(
    settings: Settings,
    network: Network,
    *,
    flow: Flow,
    pool: BufferPool,
    layout: Layout,
    theta_length: int | None,
    delay_s: Callable[[View, float], float],
    clock: Clock,
    tell: Sink,
) -> RoundTools:
    """`theta_length`: of the theta to be sketched round by round; None: it is not."""
    transfer = TransferTools(
        links=network.links,
        pool=pool,
        segments=SegmentPool(SEGMENT_FLOATS),
        strategy=STRATEGIES[settings.strategy],
        sealer=Sealer(network.identity, settings.run_id),
        scratch=np.empty(SEGMENT_FLOATS, np.float32),
    )
    return RoundTools(
        me=network.identity.peer_id,
        run_id=RunId(settings.run_id),
        transfer=transfer,
        flow=flow,
        layout=layout,
        feedback=Feedback(steps_pool(pool.length)),
        delay_s=delay_s,
        clock=clock,
        tell=tell,
        sketch=None if theta_length is None else lambda vector: sketch(vector[:theta_length], seed=settings.seed),
    )
