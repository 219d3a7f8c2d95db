"""Moshpit knowledge distillation over the network (MKD, arXiv 2512.05234): in iterations t <= K, between local update
and aggregation, every round of the grid distils first. A peer offers its model to its mates on the line, hears theirs
on its own data, and learns from the nearest.

Nothing is agreed on, so nobody waits for anybody longer than its own deadline of the round; all that the averaging that
follows knows of it is by how much it may hold up members.
"""

from __future__ import annotations

from bisect import bisect
from functools import partial

import torch
from torch import Tensor, nn

from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.layout import Layout
from marfl_peer.averaging.codecs.parcel import Packing
from marfl_peer.averaging.codecs.registry import Codecs, codec_named
from marfl_peer.averaging.finite import is_finite
from marfl_peer.averaging.vector import VectorSchema, pack
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.errors import MarflError
from marfl_peer.facts import Distilled, RemoteFault, Sink, WaitEnded
from marfl_peer.ids import PeerId, Round
from marfl_peer.learning.distillation.lesson import Learned, Lesson
from marfl_peer.learning.distillation.schedule import following, teacher_count
from marfl_peer.network.links import Links
from marfl_peer.peer.hearing import Hearing
from marfl_peer.peer.iterations import Iterations
from marfl_peer.peer.learner import Learner, finite_or_none
from marfl_peer.peer.rounds import BaseState
from marfl_peer.peer.teaching import Teaching, Ware
from marfl_peer.protocol.deadlines import distilling_s, lesson_allowance_s, patience_s, round_deadline
from marfl_peer.protocol.mates import Mates, line_of
from marfl_peer.protocol.messages import (
    LineName,
    ModelMessage,
    ModelOffer,
    ModelPart,
    ModelPull,
    ModelRequest,
    NoModel,
)
from marfl_peer.protocol.speeds import ASSUMED_LINK_BYTES_PER_S
from marfl_peer.protocol.view import View


class Distilling:
    """`schema` is that of the vector that is averaged."""

    def __init__(
        self,
        settings: Settings,
        schema: VectorSchema,
        *,
        learner: Learner,
        iterations: Iterations,
        links: Links,
        clock: Clock,
        tell: Sink,
    ) -> None:
        self._settings, self._schema = settings, schema.without_momentum()
        self._learner, self._iterations, self._links = learner, iterations, links
        self._clock, self._tell = clock, tell
        self._full = _packing(self._schema, "float32")
        self._short = _packing(self._schema, settings.mkd_codec)
        self.teaching = Teaching(links=links, full=self._full, short=self._short)
        self._hearing: Hearing | None = None
        self._teacher: nn.Module | None = None
        self._update_s = 0.0
        self._slowest_link_bytes_per_s = ASSUMED_LINK_BYTES_PER_S

    async def close(self) -> None:
        await self.teaching.close()

    def distils_in(self, iteration: int) -> bool:
        return iteration <= self._settings.mkd_iterations

    # the iteration loop's side

    async def run(self, *, update_s: float) -> None:
        """All rounds of distillation of the open iteration, whose local update took `update_s`."""
        settings, iteration = self._settings, int(self._iterations.iteration) + 1
        self._update_s = update_s
        if not self.distils_in(iteration):
            self._teacher = None
            return
        began = self._clock.now()
        base = await self._iterations.began_from() if self._short.needs_base else None
        round = 0
        while (view := self._view(iteration)) is not None and round < view.grid.rounds:
            round += 1
            name, mates = line_of(view, self._links.me, Round(round))
            await self._offer(name, mates, base)
            gone = set(self._iterations.gone())
            there = tuple(mate for mate in mates if mate not in gone)
            if there:
                patience, allowance = self._times(view)
                deadline = round_deadline(began, round, patience, allowance)
                await self._distil(name, self._chosen(name, there), base, deadline, deadline - allowance / 2)
        self.teaching.withhold(iteration)
        if iteration == settings.mkd_iterations:
            self._teacher = None

    def sit_out(self) -> None:
        """This peer does not train in the open iteration: it has nothing to teach, and learns by the average."""
        self.teaching.withhold(int(self._iterations.iteration) + 1)

    def is_over(self) -> None:
        """The aggregation is over: nobody distils in its iteration any more."""
        self.teaching.let_go()

    def delay_s(self, view: View, slowest_link_bytes_per_s: float) -> float:
        """By how much distilling may hold up members of a view, as far as this peer can know before it."""
        self._slowest_link_bytes_per_s = slowest_link_bytes_per_s
        return distilling_s(view.grid.rounds, *self._times(view)) if self.distils_in(view.iteration) else 0.0

    def _view(self, iteration: int) -> View | None:
        """As it is now: it may move while nothing is exchanged. None where this peer has none of that iteration."""
        view = self._iterations.view
        is_there = view is not None and view.iteration == iteration and self._links.me in view.cell_of
        return view if is_there else None

    def _times(self, view: View) -> tuple[float, float]:
        """(patience, allowance) of a round, in seconds."""
        received = self._full.total_bytes * (max(view.grid.shape, default=1) - 1)
        patience = patience_s([self._update_s] if self._update_s else [])
        return patience, lesson_allowance_s(received, self._slowest_link_bytes_per_s, self._update_s)

    # one round

    async def _offer(self, name: LineName, mates: tuple[PeerId, ...], base: BaseState | None) -> None:
        """This peer's model as it enters the round is there for its mates."""
        trainer, schema = self._learner.own_trainer(), self._schema

        def work() -> tuple[Tensor, Tensor | None]:
            vector = torch.empty(schema.length)
            pack(schema, trainer.model, None, vector)
            salt = f"{self._links.me} {name.iteration} {name.round}"
            encoded = None if base is None else self._short.wrap(vector, base.vector, salt=salt)
            return vector.view(torch.uint8), encoded

        full, encoded = await self._learner.in_thread(work)
        offer = ModelOffer(name=name, base="" if base is None else base.digest)
        self.teaching.offer(Ware(offer, full, encoded), mates)

    def _chosen(self, name: LineName, mates: tuple[PeerId, ...]) -> Mates:
        if self._settings.mkd_ranking == "outputs":
            return Mates(mates)
        wanted = teacher_count(len(mates), self._settings.mkd_teachers)
        # From the own place on, so that nobody teaches more mates than others do.
        first = (bisect(mates, self._links.me) + name.iteration * wanted) % len(mates)
        return Mates((*mates[first:], *mates[:first]), wanted=wanted)

    async def _distil(
        self, name: LineName, mates: Mates, base: BaseState | None, deadline: float, hurry_at: float
    ) -> None:
        began = self._clock.now()
        lessons: list[Lesson] = []
        self._hearing = hearing = Hearing(
            name,
            mates,
            base="" if base is None else base.digest,
            full=self._full,
            short=self._short,
            hear=partial(self._hear, lessons, None if base is None else base.vector),
            links=self._links,
            clock=self._clock,
        )
        try:
            await hearing.run(hurry_at=hurry_at, deadline=deadline)
        finally:
            self._hearing = None
        heard_at = self._clock.now()
        lesson = lessons[0] if lessons and lessons[0].distances else None
        learned = None if lesson is None else await self._learn(lesson, name)
        self._tell(
            WaitEnded(
                iteration=name.iteration,
                round=name.round,
                waited_for="models",
                seconds=heard_at - began,
                allowed_s=deadline - began,
                outcome="arrived" if mates.is_complete else "deadline" if heard_at >= deadline else "lost",
            )
        )
        self._tell(
            Distilled(
                iteration=name.iteration,
                round=name.round,
                line=name.line,
                asked=len(mates),
                candidates=0 if lesson is None else len(lesson.distances),
                teachers=() if learned is None else learned.teachers,
                divergence=None if learned is None else finite_or_none(learned.distance),
                follow=following(name.iteration, self._settings.mkd_iterations),
                loss=None if learned is None else finite_or_none(learned.loss),
                bytes_received=hearing.received_bytes,
                seconds=self._clock.now() - began,
            )
        )

    async def _learn(self, lesson: Lesson, name: LineName) -> Learned:
        settings = self._settings
        # Where only the chosen ones were fetched all of them teach.
        share = settings.mkd_teachers if settings.mkd_ranking == "outputs" else 1.0
        follow = following(name.iteration, settings.mkd_iterations)
        return await self._learner.work_hard(
            lambda: lesson.learn(share=share, follow=follow, should_stop=lambda: self._learner.is_stopping)
        )

    async def _hear(
        self, lessons: list[Lesson], base: Tensor | None, mate: PeerId, packing: Packing, parcel: Tensor
    ) -> bool:
        """Whether a mate's model counts. The round's mini-batches are drawn for the first one."""
        trainer = self._learner.own_trainer()

        def work() -> str:
            if not lessons:
                if self._teacher is None:
                    self._teacher = trainer.twin()[0]
                temperature = self._settings.mkd_temperature
                lessons.append(Lesson(trainer, self._teacher, self._schema, temperature=temperature))
            try:
                vector = packing.unwrap(parcel, base)
            except MarflError as error:
                return str(error)
            if not is_finite(vector):
                return "a model that is not finite"
            return "" if lessons[0].hear(mate, vector) else "a model whose outputs are not finite"

        fault = await self._learner.work_hard(work)
        if fault:
            self._tell(RemoteFault(code="bad_model", remote=mate, detail=fault))
        return not fault

    # the network's side

    def heard(self, peer: PeerId, message: ModelMessage, payload_bytes: int) -> None:
        """Raises: RemoteProtocolError."""
        hearing = self._hearing
        match message:
            case ModelRequest():
                self.teaching.asked(peer, message)
            case ModelPull():
                self.teaching.pulled(peer, message)
            case _ if hearing is None or message.name != hearing.name:
                pass  # to a question that is answered by now
            case ModelOffer():
                hearing.offered(peer, message)
            case ModelPart():
                hearing.arrived(peer, message, payload_bytes)
            case NoModel():
                hearing.gone(peer)

    def room(self, peer: PeerId, part: ModelPart, length: int) -> memoryview | None:
        """Where the payload belongs; None where nobody waits for it. Raises: RemoteProtocolError."""
        return None if self._hearing is None else self._hearing.room(peer, part, length)

    def gone(self, peer: PeerId) -> None:
        self.teaching.gone(peer)
        if self._hearing is not None:
            self._hearing.gone(peer)

    def absent(self, peer: PeerId, until: int) -> None:
        """`peer` comes to no iteration up to that one."""
        if self._hearing is not None and self._hearing.name.iteration <= until:
            self._hearing.gone(peer)

    def interrupted(self, peer: PeerId) -> None:
        if self._hearing is not None:
            self._hearing.interrupted(peer)


def _packing(schema: VectorSchema, codec: str) -> Packing:
    return Packing(Layout.of(schema, Codecs(theta=codec_named(codec), momentum=FLOAT32)))
