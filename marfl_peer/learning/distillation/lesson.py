"""One round of distillation at one peer: its own mini-batches, what each candidate's model says to them, and the steps
towards the nearest. Synchronous, in a worker thread; knows no network, and no model but its own trainer's.

Moshpit knowledge distillation of MAR-FL (arXiv 2512.05234). A candidate's model is needed only while it is heard: what
stays of it is what it says to at most eight mini-batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from marfl_peer.averaging.vector import VectorSchema, unpack_
from marfl_peer.errors import ConfigError
from marfl_peer.ids import PeerId
from marfl_peer.learning.distillation.divergence import distance, distillation_loss, mean_logits, nearest
from marfl_peer.learning.distillation.schedule import batch_count, teacher_count
from marfl_peer.learning.trainer import Trainer, never


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a lesson came to. `teachers`: the nearest first; `distance` is theirs on average; `loss` is the mean over
    the steps, each before it is taken."""

    teachers: tuple[PeerId, ...]
    distance: float
    loss: float
    batches: int


class Lesson:
    """Takes its mini-batches from the trainer's own stream: the next ones, which the local update then goes on after.

    `teacher` is a second model of the trainer's kind, which every candidate's vector is written into; `schema` that of
    such a vector.
    """

    def __init__(self, trainer: Trainer, teacher: nn.Module, schema: VectorSchema, *, temperature: float) -> None:
        self._trainer, self._teacher, self._schema, self._temperature = trainer, teacher, schema, temperature
        self._place = trainer.position
        self._batches = trainer.draw(batch_count(trainer.samples, trainer.batch_size))
        self._inputs = [trainer.inputs(indices) for indices in self._batches]
        self._student = self._said_by(trainer.model)
        self._logits: dict[PeerId, list[Tensor]] = {}
        self.distances: dict[PeerId, float] = {}
        """Of every candidate that was heard."""

    def hear(self, candidate: PeerId, vector: Tensor) -> bool:
        """What the model of `vector` [n] says to the mini-batches; False, and it counts for nothing, if that is not
        finite."""
        unpack_(self._schema, vector, self._teacher, None)
        logits = self._said_by(self._teacher)
        away = distance(logits, self._student, temperature=self._temperature)
        if not all(bool(torch.isfinite(one).all()) for one in logits) or not away < float("inf"):
            return False
        self._logits[candidate], self.distances[candidate] = logits, away
        return True

    def learn(self, *, share: float, follow: float, should_stop: Callable[[], bool] = never) -> Learned:
        """One step on each mini-batch towards the nearest `share` of the candidates, of whom there is at least one."""
        # Candidates come in the order of the network; of equal ones the lowest id counts.
        ranked = {peer: self.distances[peer] for peer in sorted(self.distances)}
        chosen = nearest(ranked, teacher_count(len(ranked), share))
        said = mean_logits([self._logits[peer] for peer in chosen])
        trainer = self._trainer
        trainer.model.train()
        losses: list[Tensor] = []
        with trainer.own_randomness("lesson", self._place):
            for indices, teachers in zip(self._batches, said, strict=True):
                if should_stop():
                    break
                losses.append(trainer.step(indices, partial(self._loss, teachers, follow)))
        return Learned(
            teachers=tuple(chosen),
            distance=sum(ranked[peer] for peer in chosen) / len(chosen),
            loss=float(torch.stack(losses).mean()) if losses else float("nan"),
            batches=len(losses),
        )

    def _loss(self, teachers: Tensor, follow: float, own: Tensor, own_loss: Tensor) -> Tensor:
        return distillation_loss(own, teachers, own_loss, follow=follow, temperature=self._temperature)

    def _said_by(self, model: nn.Module) -> list[Tensor]:
        model.eval()
        with torch.no_grad():
            said = [model(inputs) for inputs in self._inputs]
        if any(not isinstance(one, Tensor) or one.dim() < 2 for one in said):
            remedy = "this task's model gives no logits [batch, classes] to distil from: use --mkd-iterations 0"
            raise ConfigError("mkd-iterations", None, remedy)
        return said
