"""What was saved is taken up as it was, or set aside with one clear word."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from marfl_peer.averaging.vector import VectorSchema, pack
from marfl_peer.config import Settings
from marfl_peer.facts import StateRejected
from marfl_peer.ids import PeerId
from marfl_peer.learning.batches import Position
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.learning.trainer import Trainer
from marfl_peer.peer.outfit import trainer_for
from marfl_peer.peer.resuming import Resumed, read_state, restore_, settings_digest
from marfl_peer.peer.states import digest_of
from marfl_peer.peer.store import MANIFEST_FILE, Manifest, save_state, tensor_bytes

ME = PeerId("a" * 40)
SETTINGS = Settings(shards=2, local_steps=2, iterations=30)


@pytest.fixture(scope="module")
def data() -> TaskData:
    return Digits().load(None)


def trained(data: TaskData, settings: Settings = SETTINGS, *, shard: int = 1) -> Trainer:
    trainer = trainer_for(Digits(), settings, shard=shard, data=data)
    trainer.local_update()
    return trainer


def schema_of(trainer: Trainer, settings: Settings = SETTINGS) -> VectorSchema:
    return VectorSchema.of(trainer.model, momentum=settings.vector == "theta+momentum")


def momentum_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    named = trainer.model.named_parameters()
    return {name: trainer.optimizer.state[parameter]["momentum_buffer"] for name, parameter in named}


def save(folder: Path, trainer: Trainer, of: Settings = SETTINGS, **fields: object) -> None:
    given = {
        "peer_id": ME,
        "incarnation": 1,
        "run_id": of.run_id,
        "task": "digits",
        "settings": settings_digest(of),
        "schema": schema_of(trainer, of).digest,
        "iteration": 12,
        "digest": "",
        "group": (ME,),
        "shard": trainer.shard.index,
        "epoch": trainer.position.epoch,
        "offset": trainer.position.offset,
        "members": (("b" * 40, "10.0.0.1", 7700),),
        **fields,
    }
    save_state(folder, Manifest(**given), tensor_bytes(trainer.model.state_dict(), momentum_of(trainer)))


def read(folder: Path, trainer: Trainer, settings: Settings = SETTINGS) -> Resumed:
    found = read_state(folder, settings, schema_of(trainer, settings), peer_id=ME)
    assert isinstance(found, Resumed), found
    return found


def test_state_is_the_vector_that_was_agreed_on(tmp_path: Path, data: TaskData) -> None:
    trainer = trained(data)
    schema = schema_of(trainer)
    vector = torch.empty(schema.length)
    pack(schema, trainer.model, trainer.optimizer, vector)
    save(tmp_path, trainer)
    resumed = read(tmp_path, trainer)
    assert torch.equal(resumed.state.vector, vector)
    assert (resumed.state.iteration, resumed.state.group) == (12, (ME,))
    assert (resumed.held.iteration, resumed.held.digest) == (12, digest_of(vector))
    assert resumed.addresses() == [("10.0.0.1", 7700)]


@pytest.mark.parametrize("vector", ["theta", "theta+momentum"])
def test_trainer_is_put_where_it_was(tmp_path: Path, data: TaskData, vector: str) -> None:
    """Also its momentum where that is nobody else's: with `--vector theta` it is in no state of the swarm."""
    settings = SETTINGS.adopt({"vector": vector})
    trainer = trained(data, settings)
    save(tmp_path, trainer, settings)
    fresh = trainer_for(Digits(), settings, shard=1, data=data)
    fresh.model.load_state_dict(trainer.model.state_dict())
    restore_(fresh, read(tmp_path, trainer, settings))
    assert fresh.position == trainer.position
    for name, momentum in momentum_of(trainer).items():
        assert torch.equal(momentum_of(fresh)[name], momentum)
    trainer.local_update()
    fresh.local_update()
    for one, other in zip(trainer.model.parameters(), fresh.model.parameters(), strict=True):
        assert torch.equal(one, other), "both go on in the same way"


def test_place_in_another_shard_is_not_this_ones(tmp_path: Path, data: TaskData) -> None:
    trainer = trained(data)
    save(tmp_path, trainer)
    fresh = trainer_for(Digits(), SETTINGS, shard=0, data=data)
    restore_(fresh, read(tmp_path, trainer))
    assert fresh.position == Position()
    save(tmp_path, trainer, offset=10**6)
    same = trainer_for(Digits(), SETTINGS, shard=1, data=data)
    restore_(same, read(tmp_path, trainer))
    assert same.position == Position(), "there is no such place"


def test_no_saved_state_is_none(tmp_path: Path, data: TaskData) -> None:
    assert read_state(tmp_path, SETTINGS, schema_of(trained(data)), peer_id=ME) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("peer_id", "b" * 40), ("run_id", "other"), ("settings", "55"), ("schema", "66")],
)
def test_state_of_something_else_is_foreign(tmp_path: Path, data: TaskData, field: str, value: str) -> None:
    trainer = trained(data)
    save(tmp_path, trainer, **{field: value})
    found = read_state(tmp_path, SETTINGS, schema_of(trainer), peer_id=ME)
    assert isinstance(found, StateRejected)
    assert found.reason == "foreign"
    assert value in found.detail
    assert MANIFEST_FILE in found.detail


def test_settings_of_the_end_may_change_and_others_may_not() -> None:
    for change in ({"iterations": 99}, {"target_accuracy": 0.5}, {"evaluate": "full"}, {"port": 1}):
        assert settings_digest(SETTINGS.adopt(change)) == settings_digest(SETTINGS)
    for change in ({"seed": 9}, {"lr": 0.5}, {"shards": 3}, {"partition": "shards:2"}, {"vector": "theta"}):
        assert settings_digest(SETTINGS.adopt(change)) != settings_digest(SETTINGS)


@pytest.mark.parametrize("how", ["manifest", "tensors", "missing", "not finite", "shape", "name"])
def test_damaged_state_is_told_in_one_line(tmp_path: Path, data: TaskData, how: str) -> None:
    trainer = trained(data)
    schema = schema_of(trainer)
    parameter = next(trainer.model.parameters())
    if how == "not finite":
        with torch.no_grad():
            parameter.view(-1)[3] = float("nan")
    save(tmp_path, trainer)
    (tensors,) = tmp_path.glob("state-*")
    match how:
        case "manifest":
            (tmp_path / MANIFEST_FILE).write_bytes(b"{")
        case "tensors":
            tensors.write_bytes(tensors.read_bytes()[:-1])
        case "missing":
            tensors.unlink()
        case "shape" | "name":
            model = dict(trainer.model.state_dict())
            name = next(iter(model))
            changed = {**model, name: model.pop(name)[:1]} if how == "shape" else {"x": model.pop(name), **model}
            manifest = read(tmp_path, trainer).manifest
            save_state(tmp_path, manifest, tensor_bytes(changed, {}))
        case _:
            pass
    found = read_state(tmp_path, SETTINGS, schema, peer_id=ME)
    assert isinstance(found, StateRejected)
    assert found.reason == "damaged"
    assert "\n" not in found.detail


def test_run_is_over_with_its_last_iteration_or_its_target(tmp_path: Path, data: TaskData) -> None:
    trainer = trained(data)
    save(tmp_path, trainer, reached=0.9)
    resumed = read(tmp_path, trainer)
    assert not resumed.is_final(SETTINGS)
    assert resumed.is_final(SETTINGS.adopt({"iterations": 12}))
    assert resumed.is_final(SETTINGS.adopt({"target_accuracy": 0.9}))
    assert not resumed.is_final(SETTINGS.adopt({"target_accuracy": 0.91}))
