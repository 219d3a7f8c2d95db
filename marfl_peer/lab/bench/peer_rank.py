"""A whole peer that is measured: it averages a vector that is there, in place of one that it has trained.

The one place of the bench that reaches into a peer: between packing the vector and the first word of the aggregation
it waits for the others, so that all begin at once, as in an all-reduce; and with the result again, so that nobody makes
it its model's while others average.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from marfl_peer.averaging.codecs.registry import parse_codecs
from marfl_peer.averaging.vector import MOMENTUM_KEY
from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.facts import Fact, IterationFinished, UplinkMeasured
from marfl_peer.lab.baselines.registry import SCHEMES
from marfl_peer.lab.bench.callbacks import CallbackWatch
from marfl_peer.lab.bench.judging import Judgement, judge_encoded
from marfl_peer.lab.bench.serving import Line
from marfl_peer.lab.bench.task import BenchTask
from marfl_peer.lab.bench.vectors import digest_of, factor, shared_base, weight
from marfl_peer.lab.bench.words import (
    Answer,
    Arm,
    Done,
    Ended,
    Entered,
    Go,
    Order,
    PeerRole,
    Ready,
    decode_order,
    encode,
)
from marfl_peer.lab.child import new_event_loop
from marfl_peer.learning.memory import Heap
from marfl_peer.peer.iterations import Averaged
from marfl_peer.peer.peer import Peer
from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.seats import Holding

ENCODINGS_A_ROUND = {"butterfly": 2, "all-gather": 1}
"""How often a value is encoded on its way: as a part, and as a result"""


def be_peer(role: PeerRole, settings: Settings, line: Line) -> None:
    """Lives until the orders end. Raises: MarflError."""
    with ExitStack() as stack:
        watch = stack.enter_context(CallbackWatch()) if role.is_watched else None
        factory = asyncio.new_event_loop if role.is_watched else new_event_loop
        stack.enter_context(asyncio.Runner(loop_factory=factory)).run(_live(role, settings, line, watch))


async def _live(role: PeerRole, settings: Settings, line: Line, watch: CallbackWatch | None) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=line.socket)

    def say(answer: Answer) -> None:
        writer.write(encode(answer))

    async def hear() -> Order | None:
        heard = await reader.readline()
        return decode_order(heard) if heard.endswith(b"\n") else None

    async def meet(where: Ready | Ended) -> None:
        say(where)
        if not isinstance(await hear(), Go):
            raise MarflError("the bench ended in the middle of a measurement")

    task = BenchTask(role.floats // 2, role.ranks)
    told, heap = LastWord(), Heap()
    heap.be_frugal()
    scheme = SCHEMES[settings.aggregation]
    async with Peer(settings, task, data=task.load(None), sinks=(told.note,), heap=heap, scheme=scheme) as peer:
        rank = PeerRank(peer, role, Gate(peer, meet), told, watch)
        say(Entered())
        while isinstance(order := await hear(), Arm):
            say(await rank.measure(checked=order.checked))


class LastWord:
    """Remembers what a peer said last of a finished iteration, and of the speed of its uplink."""

    finished: IterationFinished | None = None
    uplink_bytes_per_s = 0.0

    def note(self, fact: Fact) -> None:
        if isinstance(fact, IterationFinished):
            self.finished = fact
        elif isinstance(fact, UplinkMeasured):
            self.uplink_bytes_per_s = fact.bytes_per_s


class Gate:
    """Stands in a peer between `pack` and the rounds, and behind these. `meet(where)` returns when all members have
    come so far.

    `came`, `began`, `ended` and `left` are of the last aggregation, in seconds of the monotonic clock, `cpu_s` the
    processor time while it averaged.
    """

    def __init__(self, peer: Peer, meet: Callable[[Ready | Ended], Awaitable[None]]) -> None:
        self.came = self.began = self.ended = self.left = self.cpu_s = 0.0
        iterations = peer._parts.iterations
        self._meet, self._average = meet, iterations.average
        iterations.average = self._timed  # type: ignore[method-assign]  # see above

    async def _timed(self, vector: Tensor, holding: Holding, *, update_s: float) -> Averaged | None:
        self.came = time.monotonic()
        await self._meet(Ready())
        before_s, self.began = time.process_time(), time.monotonic()
        averaged = await self._average(vector, holding, update_s=update_s)
        self.ended, self.cpu_s = time.monotonic(), time.process_time() - before_s
        await self._meet(Ended())
        self.left = time.monotonic()
        return averaged


class PeerRank:
    """What a measured peer does at every `Arm`."""

    def __init__(
        self, peer: Peer, role: PeerRole, gate: Gate, told: LastWord, watch: CallbackWatch | None = None
    ) -> None:
        self._peer, self._role, self._gate, self._told, self._watch = peer, role, gate, told, watch
        (self._theta,) = peer.model.parameters()
        self._momentum: Tensor = peer.optimizer.state[self._theta][MOMENTUM_KEY]
        self._base, self._factor = shared_base(Path(role.base), role.floats), factor(role.rank, role.ranks)
        self._codecs = parse_codecs(peer.settings.codec)
        self._averaged = 0

    async def measure(self, *, checked: bool) -> Done:
        """One aggregation of fresh momentum and of what the last one came to, with an update of this peer's own: codecs
        encode that as after real training. Updates take turns in sign, so that nothing grows without bounds.

        Raises: MarflError when it was not one of all members.
        """
        peer, gate, half = self._peer, self._gate, self._role.floats // 2
        with torch.no_grad():
            before = self._theta.detach().clone() if checked else None
            self._theta.add_(self._base[:half], alpha=self._sign() * self._factor)
            torch.mul(self._base[half:], self._factor, out=self._momentum)
        if self._watch is not None:
            self._watch.leave_out()
            await asyncio.sleep(0)  # the next callback is the peer's own
        called = time.monotonic()
        outcome = await peer.aggregate(peer.model, peer.optimizer, samples=weight(self._role.rank))
        call_s = (gate.came - called) + (gate.ended - gate.began) + (time.monotonic() - gate.left)
        finished = self._told.finished
        if not outcome.took_part or finished is None or outcome.peers != self._role.ranks:
            raise MarflError(f"only {outcome.peers} of {self._role.ranks} peers averaged: is the machine too busy?")
        judgement, digest = None, ""
        if before is not None:
            # Not on the loop: where a hundred peers judge at once on a few cores, all would fall silent for seconds.
            judgement, digest = await asyncio.to_thread(self._checked, before)
        self._averaged += 1
        return Done(
            began=gate.began,
            ended=gate.ended,
            cpu_s=gate.cpu_s,
            call_s=call_s,
            error=None if judgement is None else judgement.error,
            wrong="" if judgement is None else judgement.wrong,
            digest=digest,
            bytes_sent=finished.bytes_sent,
            dht_lookups=finished.dht_lookups,
            groups_partial=finished.groups_partial,
            uplink_bytes_per_s=self._told.uplink_bytes_per_s,
            callbacks=[] if self._watch is None else self._watch.taken(),
        )

    def _checked(self, before: Tensor) -> tuple[Judgement | None, str]:
        return self._judgement(before), digest_of(torch.cat([self._theta.detach(), self._momentum]))

    def _sign(self) -> int:
        return -1 if self._averaged % 2 else 1

    def _judgement(self, before: Tensor) -> Judgement | None:
        """None where what earlier encodings left over is in the result: nobody knows what must come out then."""
        theta, momentum = self._codecs.theta, self._codecs.momentum
        if self._averaged and not (theta.is_exact and momentum.is_exact):
            return None
        settings, ranks = self._peer.settings, self._role.ranks
        encodings = Grid.for_peers(ranks, settings.group_size).rounds * ENCODINGS_A_ROUND[settings.exchange]
        change = (self._theta.detach() - before).mul_(self._sign())
        return judge_encoded(
            torch.cat([change, self._momentum]),
            [weight(rank) for rank in range(ranks)],
            theta=theta,
            momentum=momentum,
            encodings=encodings,
        )
