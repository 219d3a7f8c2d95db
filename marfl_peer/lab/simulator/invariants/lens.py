"""From a fact to a scene: what is to be seen of the peer that tells it, at the instant at which it does."""

from __future__ import annotations

from dataclasses import replace

from marfl_peer.facts import (
    Distilled,
    Fact,
    GroupAgreed,
    GroupFinished,
    IterationFinished,
    IterationStarted,
    LocalUpdateFinished,
)
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.invariants.scene import Agreed, Finished, Held, Life, Opened, Scene, Taught, Updated
from marfl_peer.protocol.messages import Ballot, LineName


def scene_of(time: float, life: Life, fact: Fact) -> Scene | None:
    """What the fact shows, seen in the peer at this very instant; None for facts that say it all themselves."""
    peer = life.player.peer
    assert peer is not None
    match fact:
        case IterationStarted():
            view = sight.current_view(peer)
            assert view is not None
            base = sight.agreed_model(peer)
            return Opened(time=time, life=life, iteration=fact.iteration, view=view, base=base)
        case LocalUpdateFinished():
            return Updated(
                time=time,
                life=life,
                iteration=fact.iteration,
                batches=fact.batches,
                samples_owned=sight.samples_of(peer),
                vector=sight.model_vector(peer),
                is_beside=sight.trains_beside(peer),
            )
        case Distilled():
            return Taught(time=time, life=life, iteration=fact.iteration, vector=sight.model_vector(peer))
        case GroupAgreed():
            return _agreed(time, life, fact)
        case GroupFinished():
            return _held(time, life, fact)
        case IterationFinished():
            return _finished(time, life, fact)
        case _:
            return None


def _agreed(time: float, life: Life, fact: GroupAgreed) -> Agreed | None:
    assert life.player.peer is not None
    rounds = sight.rounds_of(life.player.peer, fact.iteration)
    assert rounds is not None
    view = rounds.aggregation.view
    assert view is not None
    name = LineName(iteration=fact.iteration, round=fact.round, line=fact.line, view_mark=view.mark)
    return Agreed(
        time=time,
        life=life,
        name=name,
        ballot=Ballot(attempt=fact.attempt, leader=fact.leader),
        view=view,
        members=sight.members_of(rounds, name),
        own=sight.own_update(rounds) if fact.round == 1 else None,
    )


def _held(time: float, life: Life, fact: GroupFinished) -> Held | None:
    assert life.player.peer is not None
    rounds = sight.rounds_of(life.player.peer, fact.iteration)
    assert rounds is not None
    view = rounds.aggregation.view
    assert view is not None
    name = LineName(iteration=fact.iteration, round=fact.round, line=fact.line, view_mark=view.mark)
    seen = Held(
        time=time,
        life=life,
        name=name,
        view=view,
        outcome=fact.outcome,
        ballot=None,
        members=fact.members,
        weight=0,
        vector=None,
        own=sight.own_update(rounds) if fact.round == 1 else None,
    )
    result = sight.result_of(rounds, name)
    if result is None:
        return seen
    rounding = sight.rounding_of(rounds, name, result.ballot)
    return replace(seen, ballot=result.ballot, weight=result.weight, vector=result.vector, rounding=rounding)


def _finished(time: float, life: Life, fact: IterationFinished) -> Finished | None:
    peer = life.player.peer
    assert peer is not None
    view, vector = sight.current_view(peer), sight.agreed_vector(peer)
    assert view is not None
    assert vector is not None
    return Finished(
        time=time,
        life=life,
        iteration=fact.iteration,
        view=view,
        weight=fact.weight,
        vector=vector,
        model=sight.agreed_model(peer),
        place=sight.place_in_data(peer),
    )
