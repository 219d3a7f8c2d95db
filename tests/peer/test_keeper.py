"""What is kept of an agreed state says all that the next life needs."""

from __future__ import annotations

from pathlib import Path

import torch
from averaging_peers import RUN, averagers
from test_entrance import statements_of

from marfl_peer.averaging.vector import VectorSchema, pack
from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.facts import TargetReached
from marfl_peer.ids import RunId
from marfl_peer.learning.tasks.digits import Digits
from marfl_peer.peer.keeper import Keeper
from marfl_peer.peer.learner import Learner
from marfl_peer.peer.outfit import trainer_for
from marfl_peer.peer.resuming import Resumed, read_state
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.saving import Saver
from marfl_peer.peer.states import State, digest_of
from marfl_peer.peer.store import load_manifest
from marfl_peer.protocol import records
from marfl_peer.protocol.view import FOUNDING


def test_kept_state_is_one_that_a_next_life_takes_up(on_loop, tmp_path: Path) -> None:
    settings = Settings(run_id=RUN, shards=2, state_dir=tmp_path)

    async def main() -> None:
        async with averagers(2, 10) as (peer, other):
            roster = Roster(
                me=peer.me,
                run_id=RunId(RUN),
                group_size=4,
                links=peer.links,
                tell=peer.facts.append,
                on_news=lambda events: None,
            )
            for one in (peer, other):
                record = statements_of(one.identity, one.port).member()
                roster.state_joined(records.encode(record), FOUNDING)
            trainer = trainer_for(Digits(), settings, shard=1, data=Digits().load(None))
            schema = VectorSchema.of(trainer.model, momentum=True)
            learner = Learner(schema, seed=0)
            learner.trainer = trainer
            saver = Saver(clock=Clock(), tell=peer.facts.append)
            keeper = Keeper(settings=settings, identity=peer.identity, learner=learner, roster=roster, saver=saver)
            trainer.local_update()
            vector = torch.empty(schema.length)
            pack(schema, trainer.model, trainer.optimizer, vector)
            reached = TargetReached(iteration=4, test_accuracy=0.75, target=0.5)
            await keeper.keep(learner.own(), State(4, vector, (), (peer.me, other.me)), reached)
            position = trainer.position
            trainer.local_update()  # what was kept is what was there
            await saver.close()
            learner.close()
            manifest = load_manifest(tmp_path)
            assert manifest is not None
            assert (manifest.peer_id, manifest.iteration, manifest.reached) == (peer.me, 4, 0.75)
            assert (manifest.shard, manifest.epoch, manifest.offset) == (1, position.epoch, position.offset)
            assert manifest.digest == digest_of(vector)
            assert manifest.members == ((other.me, "127.0.0.1", other.port),)
            resumed = read_state(tmp_path, settings, schema, peer_id=peer.me)
            assert isinstance(resumed, Resumed)
            assert torch.equal(resumed.state.vector, vector)
            assert resumed.state.group == (peer.me, other.me)

    on_loop(main())
