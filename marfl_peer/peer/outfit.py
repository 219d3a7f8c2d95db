"""What a peer takes into the swarm: the model's schema with the initial vector, and its shard of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from marfl_peer.averaging.vector import VectorSchema, integer_buffers, pack
from marfl_peer.config import Settings
from marfl_peer.learning.optimizer import MomentumSGD
from marfl_peer.learning.partition import empty_shard, split
from marfl_peer.learning.privacy.mechanism import initial_
from marfl_peer.learning.tasks.base import Task, TaskData
from marfl_peer.learning.tasks.registry import build_initial_model, load_data
from marfl_peer.learning.trainer import Trainer
from marfl_peer.peer.states import State, digest_of
from marfl_peer.protocol.records import MemberBody, decode_body
from marfl_peer.protocol.records import decode as decode_record
from marfl_peer.protocol.view import MembershipEvent


@dataclass(frozen=True, slots=True, eq=False)
class Outfit:
    """`initial` is the state of iteration 0, which the swarm starts from: all must agree on its `digest`."""

    schema: VectorSchema
    initial: State
    digest: str

    def without_initial(self) -> Outfit:
        """For the rest of a peer's life: nobody needs that vector any more."""
        return replace(self, initial=replace(self.initial, vector=self.initial.vector.new_empty(0)))


def schema_of(model: nn.Module, settings: Settings) -> VectorSchema:
    """What a run with these settings exchanges of a model. Raises: ConfigError."""
    return VectorSchema.of(model, momentum=settings.vector == "theta+momentum", private=settings.dp_noise > 0.0)


def outfit_of(task: Task, settings: Settings) -> Outfit:
    """Builds the seeded model once to read its schema. Raises: ConfigError for a task that gives no model."""
    model = build_initial_model(task, settings.seed)
    momentum = settings.vector == "theta+momentum"
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = MomentumSGD(trained, lr=settings.lr, momentum=settings.momentum) if momentum else None
    schema = schema_of(model, settings)
    initial = torch.empty(schema.length, dtype=torch.float32)
    pack(schema, model, optimizer, initial)
    initial_(schema, initial, clip=settings.dp_clip)
    return Outfit(schema, State(0, initial, integer_buffers(schema, model)), digest_of(initial))


def trainer_for(task: Task, settings: Settings, *, shard: int | None, data: TaskData | None) -> Trainer:
    """The trainer of a shard; without one it trains nothing. Raises: ConfigError."""
    loaded = data if data is not None else load_data(task, settings.data_dir)
    shards = split(
        loaded.train_labels,
        loaded.test_labels,
        shards=settings.shards,
        scheme=settings.partition,
        seed=settings.seed,
    )
    return Trainer(task, loaded, empty_shard() if shard is None else shards[shard], settings)


def data_for(task: Task, settings: Settings) -> TaskData:
    """The task's data. Raises: ConfigError for data that cannot be read, cut into the run's shards or trained on."""
    data = load_data(task, settings.data_dir)
    trainer_for(task, settings, shard=None, data=data)
    return data


def claimed_shard(event: MembershipEvent) -> int | None:
    """The shard that a joining claims; its record was checked when the event was taken in."""
    body = decode_body(decode_record(event.record).body)
    return body.shard if isinstance(body, MemberBody) else None
