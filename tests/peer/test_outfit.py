"""What a peer takes into the swarm is the same at all peers, but for the shard."""

from __future__ import annotations

import pytest
import torch

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.ids import PeerId
from marfl_peer.learning.tasks.base import TaskData
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.network.identity import Identity
from marfl_peer.peer.outfit import claimed_shard, outfit_of, trainer_for
from marfl_peer.peer.statements import Statements
from marfl_peer.protocol import records
from marfl_peer.protocol.view import FOUNDING, MembershipEvent


@pytest.fixture(scope="module")
def data() -> TaskData:
    return Digits().load(None)


def test_initial_vector_follows_from_the_seed_alone() -> None:
    one, other = outfit_of(Digits(), Settings(seed=3)), outfit_of(Digits(), Settings(seed=3, port=1))
    assert torch.equal(one.initial.vector, other.initial.vector)
    assert one.schema.digest == other.schema.digest
    assert not torch.equal(one.initial.vector, outfit_of(Digits(), Settings(seed=4)).initial.vector)


def test_vector_has_momentum_only_where_it_is_averaged() -> None:
    both, theta = outfit_of(Digits(), Settings()), outfit_of(Digits(), Settings(vector="theta"))
    assert both.schema.has_momentum
    assert not theta.schema.has_momentum
    assert len(both.initial.vector) == 2 * len(theta.initial.vector)
    assert both.schema.digest != theta.schema.digest


def test_shards_together_are_all_samples_and_no_shard_is_none(data: TaskData) -> None:
    settings = Settings(shards=4)
    trainers = [trainer_for(Digits(), settings, shard=shard, data=data) for shard in (0, 1, 2, 3, None)]
    assert sum(trainer.samples for trainer in trainers) == len(data.train_labels)
    assert trainers[-1].samples == 0
    assert trainers[-1].local_update().batches == 0


@pytest.mark.parametrize(("setting", "claim"), [(None, None), ("2/4", 2)])
def test_claim_is_read_from_the_joiners_record(setting: str | None, claim: int | None) -> None:
    identity = Identity.ephemeral()
    statements = Statements(
        identity=identity,
        settings=Settings(shard=setting),
        schema_digest="",
        clock=Clock(),
        address=lambda: ("127.0.0.1", 1),
    )
    event = MembershipEvent(
        peer_id=PeerId(identity.peer_id),
        incarnation=0,
        kind="joined",
        iteration=FOUNDING,
        record=records.encode(statements.member()),
    )
    assert claimed_shard(event) == claim
