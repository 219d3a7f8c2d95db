"""Whole peers by every scheme: the model that comes out, the bytes that go out, and what a loss does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compared import Played, play

from marfl_peer.config import AGGREGATIONS, BY_LOT, ONE_GROUP, Settings
from marfl_peer.errors import ConfigError
from marfl_peer.facts import Fact, GroupAgreed, PeerStarted
from marfl_peer.lab.baselines.registry import SCHEMES, scheme_of
from marfl_peer.lab.baselines.traffic import vectors_sent
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.protocol.messages import MAX_MEMBERS

FLOATS = 64 * 1024
MANY = 16


def test_every_aggregation_has_its_scheme() -> None:
    assert tuple(sorted(SCHEMES)) == tuple(sorted(AGGREGATIONS))
    assert all(scheme_of(Settings(aggregation=name), peers=4) is SCHEMES[name] for name in AGGREGATIONS)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_one_group_of_all_has_a_limit(name: str) -> None:
    settings = Settings(aggregation=name)
    assert scheme_of(settings, peers=MAX_MEMBERS).name == name
    if name in ONE_GROUP:
        with pytest.raises(ConfigError, match="128 at most, not 129: take fewer, or --aggregation mar"):
            scheme_of(settings, peers=MAX_MEMBERS + 1)
    else:
        assert scheme_of(settings, peers=MAX_MEMBERS + 1).name == name


@pytest.fixture(scope="module")
def models_of_mar(tmp_path_factory: pytest.TempPathFactory) -> dict[int, torch.Tensor]:
    """By the number of peers; the largest swarm has the bulky model."""
    models = {}
    for peers in (1, 2, 5):
        played = play(tmp_path_factory.mktemp("mar"), "mar", peers)
        models[peers] = played.mean
    models[MANY] = play(tmp_path_factory.mktemp("mar"), "mar", MANY, iterations=1, floats=FLOATS).mean
    return models


@pytest.mark.parametrize("name", ONE_GROUP)
@pytest.mark.parametrize("peers", [1, 2, 5])
def test_exact_schemes_come_to_the_model_of_mar(
    name: str, peers: int, models_of_mar: dict[int, torch.Tensor], tmp_path: Path
) -> None:
    played = play(tmp_path, name, peers)
    assert played.is_over
    assert len(played.models) == peers
    assert played.are_equal()
    assert_near(played.mean, models_of_mar[peers])
    assert played.tally.grid == ((peers,) if peers > 1 else ())
    assert all(played.tally.row(iteration).disagreement == 0.0 for iteration in (1, 2))


@pytest.mark.parametrize("name", ONE_GROUP)
def test_many_peers_come_to_the_model_of_mar_and_send_what_the_formula_says(
    name: str, models_of_mar: dict[int, torch.Tensor], tmp_path: Path
) -> None:
    played = play(tmp_path, name, MANY, iterations=1, floats=FLOATS)
    assert len(played.models) == MANY
    assert played.are_equal()
    assert_near(played.mean, models_of_mar[MANY])
    assert_bytes(played, Settings(aggregation=name))


@pytest.mark.parametrize("name", BY_LOT)
def test_groups_by_lot_keep_the_mean_and_send_what_the_formula_says(
    name: str, models_of_mar: dict[int, torch.Tensor], tmp_path: Path
) -> None:
    played = play(tmp_path, name, MANY, iterations=1, floats=FLOATS)
    assert len(played.models) == MANY
    assert_near(played.mean, models_of_mar[MANY])  # all have as many samples
    assert not played.are_equal()
    disagreement = played.tally.row(1).disagreement
    assert disagreement is not None
    assert 0 < disagreement < 1
    assert played.tally.grid == ()
    assert_bytes(played, Settings(aggregation=name))


@pytest.mark.parametrize("name", BY_LOT)
@pytest.mark.parametrize("peers", [1, 2, 5])
def test_few_peers_meet_by_lot(name: str, peers: int, tmp_path: Path) -> None:
    played = play(tmp_path, name, peers)
    assert played.is_over
    assert len(played.models) == peers
    assert {fact.outcome for fact in played.groups} <= {"complete", "alone"}
    assert all(fact.absent == 0 for fact in played.groups)
    if name == "gossip":
        assert {len(fact.members) for fact in played.groups} == {1: {1}, 2: {2}, 5: {1, 2}}[peers]
    if peers == 2:
        assert played.are_equal()


@pytest.mark.parametrize(
    ("name", "who"), [*((name, "lowest") for name in (*ONE_GROUP, *BY_LOT)), ("ring", "highest"), ("rdfl", "highest")]
)
def test_swarm_goes_on_without_a_peer_that_is_lost_in_the_exchange(name: str, who: str, tmp_path: Path) -> None:
    """The lowest id is the server of FedAvg, and leads."""
    ids: dict[int, str] = {}
    struck: list[float] = []

    def strike(simulation: Simulation, player: Player, fact: Fact) -> None:
        if isinstance(fact, PeerStarted):
            ids[player.index] = fact.peer_id
        if isinstance(fact, GroupAgreed) and fact.iteration == 2 and not struck:
            pick = min if who == "lowest" else max
            victim = simulation.players[pick(ids, key=ids.__getitem__)]
            struck.append(simulation.world.time)
            simulation.world.call(simulation.world.time + 0.002, victim.host.crash)

    played = play(tmp_path, name, 5, iterations=5, floats=FLOATS, happening=strike)
    assert struck
    assert played.is_over
    assert len(played.models) == 4
    struck_in = [fact for fact in played.groups if fact.iteration == 2]
    assert any(len(fact.members) < 5 for fact in struck_in)
    if name in ONE_GROUP:
        assert played.are_equal()
        assert all(fact.attempts > 1 and len(fact.members) == 4 for fact in struck_in)
    assert {len(fact.members) for fact in played.groups if fact.iteration == 5} == (
        {4} if name in ONE_GROUP else {2} if name == "gossip" else {4}
    )


def assert_near(model: torch.Tensor, other: torch.Tensor) -> None:
    assert float((model - other).norm()) <= 1e-5 * float(other.norm())


def assert_bytes(played: Played, settings: Settings) -> None:
    sent = played.tally.row(1).bytes_sent["tensor"]
    wanted = MANY * vectors_sent(settings, peers=MANY) * 2 * 4 * FLOATS  # theta and momentum
    assert wanted <= sent <= 1.02 * wanted
