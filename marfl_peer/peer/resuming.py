"""Back from the disk: the state that a peer saved in an earlier life, checked in every respect, or why it is not used.

Knows manifests and vectors; not what the swarm says about them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from marfl_peer.averaging.finite import is_finite
from marfl_peer.averaging.vector import AGREED_ALONE, MOMENTUM_KEY, VectorSchema
from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.facts import StateRejected
from marfl_peer.ids import PeerId
from marfl_peer.learning.batches import Position
from marfl_peer.learning.trainer import Trainer
from marfl_peer.peer.states import State, digest_of
from marfl_peer.peer.store import MANIFEST_FILE, Manifest, load_manifest, load_tensors
from marfl_peer.protocol.restart import Held

SETTINGS_OF_THE_END = ("iterations", "target_accuracy", "evaluate", "evaluate_every")
"""May differ from life to life: they say when a run ends and what is tested, not what its states mean."""


@dataclass(frozen=True, slots=True, eq=False)
class Resumed:
    """A state that this peer can go on from. `momentum`: by parameter, of the optimizer."""

    manifest: Manifest
    state: State
    held: Held
    momentum: dict[str, Tensor]

    @property
    def position(self) -> Position:
        return Position(epoch=self.manifest.epoch, offset=self.manifest.offset)

    def is_final(self, settings: Settings) -> bool:
        """Whether the run was over with it."""
        reached, target = self.manifest.reached, settings.target_accuracy
        is_reached = reached is not None and target is not None and reached >= target
        return is_reached or self.manifest.iteration >= settings.iterations

    def addresses(self) -> list[tuple[str, int]]:
        """Where the members of the swarm were."""
        return [(host, port) for _, host, port in self.manifest.members]


def settings_digest(settings: Settings) -> str:
    """40 hex digits over the settings of the run that decide what a state means."""
    meant = {name: value for name, value in settings.shared().items() if name not in SETTINGS_OF_THE_END}
    return hashlib.sha256(msgspec.json.encode(meant, order="sorted")).hexdigest()[:40]


def read_state(
    state_dir: Path, settings: Settings, schema: VectorSchema, *, peer_id: PeerId
) -> Resumed | StateRejected | None:
    """The saved state of this peer in this run, or why it cannot be used; None where nothing was saved."""
    path = state_dir / MANIFEST_FILE
    try:
        manifest = load_manifest(state_dir)
        if manifest is None:
            return None
        for what, theirs, own in (
            ("peer", manifest.peer_id, peer_id),
            ("run", manifest.run_id, settings.run_id),
            ("settings", manifest.settings, settings_digest(settings)),
            ("model schema", manifest.schema, schema.digest),
        ):
            if theirs != own:
                text = f"{path} is of {what} {theirs}, not {own}: it will be replaced by this run's"
                return StateRejected(reason="foreign", detail=text)
        tensors = load_tensors(state_dir, manifest)
        state = State(
            manifest.iteration,
            _vector(tensors, schema),
            _maxima(tensors, schema),
            tuple(PeerId(member) for member in manifest.group),
        )
        if not is_finite(state.vector):
            raise ConfigError("state", str(path), "holds values that are not finite: the peer takes others' state")
    except ConfigError as error:
        return StateRejected(reason="damaged", detail=str(error))
    momentum = {name[9:]: tensor for name, tensor in tensors.items() if name.startswith("momentum/")}
    # Of a model in half precision the vector that was agreed on is finer than what is saved.
    return Resumed(manifest, state, Held(state.iteration, digest_of(state.vector)), momentum)


@torch.no_grad()
def restore_(trainer: Trainer, resumed: Resumed) -> None:
    """Puts a trainer that has the state's model where it was: its own momentum, its place in its shard."""
    for name, parameter in trainer.model.named_parameters():
        buffer = trainer.optimizer.state.get(parameter, {}).get(MOMENTUM_KEY)
        values = resumed.momentum.get(name)
        if isinstance(buffer, Tensor) and values is not None and buffer.shape == values.shape:
            buffer.copy_(values)
    if trainer.shard.index == resumed.manifest.shard and resumed.manifest.offset < max(trainer.samples, 1):
        trainer.restore(resumed.position)


def _vector(tensors: dict[str, Tensor], schema: VectorSchema) -> Tensor:
    """The flat vector [n] of saved tensors; momentum that was not saved is zero."""
    vector = torch.zeros(schema.length, dtype=torch.float32)
    for entry in schema.entries:
        kind = entry.part if entry.part in ("momentum", *AGREED_ALONE) else "model"
        values = tensors.get(f"{kind}/{entry.name}")
        if values is not None:
            _check(values, entry.name, entry.shape, entry.dtype)
            vector[entry.offset : entry.offset + entry.size] = values.flatten()
        elif kind != "momentum":
            raise _missing(entry.name)
    return vector


def _maxima(tensors: dict[str, Tensor], schema: VectorSchema) -> tuple[int, ...]:
    maxima: list[int] = []
    for item in schema.maxima:
        values = tensors.get(f"model/{item.name}")
        if values is None:
            raise _missing(item.name)
        _check(values, item.name, item.shape, item.dtype)
        maxima += [int(value) for value in values.flatten().tolist()]
    return tuple(maxima)


def _check(values: Tensor, name: str, shape: tuple[int, ...], dtype: str) -> None:
    if tuple(values.shape) != shape or str(values.dtype) != dtype:
        raise ConfigError("state", name, f"is {values.dtype} {tuple(values.shape)} on disk, not {dtype} {shape}")


def _missing(name: str) -> ConfigError:
    return ConfigError("state", name, "is not among the saved tensors")
