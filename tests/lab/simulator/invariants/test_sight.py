from __future__ import annotations

from pathlib import Path

import numpy as np
from broken import scenario

from marfl_peer.facts import Fact, GroupFinished, IterationFinished, LocalUpdateFinished
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.protocol.messages import LineName


def test_sight_of_a_running_peer(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(player: Player, fact: Fact) -> None:
        peer = player.peer
        assert peer is not None
        match fact:
            case LocalUpdateFinished():
                rounds = sight.rounds_of(peer, fact.iteration)
                assert rounds is not None
                assert sight.own_update(rounds) is None
                assert sight.model_vector(peer).size == 30
                assert sight.samples_of(peer) > 0
                assert sight.place_in_data(peer)[1:] != (0, 0)
                seen.append("update")
            case GroupFinished() if fact.round == 1:
                rounds = sight.rounds_of(peer, fact.iteration)
                assert rounds is not None
                view = rounds.aggregation.view
                assert view is not None
                name = LineName(iteration=fact.iteration, round=1, line=fact.line, view_mark=view.mark)
                assert {member.peer_id for member in sight.members_of(rounds, name)} == set(fact.members)
                result, own = sight.result_of(rounds, name), sight.own_update(rounds)
                assert result is not None
                assert own is not None
                assert (result.weight, result.ballot.leader) == (fact.weight, min(fact.members))
                assert np.array_equal(own[1], sight.model_vector(peer))
                seen.append("group")
            case IterationFinished():
                agreed, view = sight.agreed_vector(peer), sight.current_view(peer)
                assert agreed is not None
                assert view is not None
                assert len(view.members) == 4
                assert len(sight.membership_events(peer, fact.iteration)) == 4
                assert sight.allowance_s(peer, fact.iteration) > 2.0
                seen.append("end")
            case _:
                pass

    simulation = Simulation(scenario(peers=4, group_size=2, iterations=1), folder=tmp_path, on_fact=look)
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=600.0)
    simulation.close()
    assert [player.error for player in simulation.players] == [None] * 4
    assert [seen.count(what) for what in ("update", "group", "end")] == [4, 4, 4]
