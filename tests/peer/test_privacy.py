"""Swarms whose updates are private, on the virtual loop: what leaves a peer, what all agree on, what it costs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from private_swarms import CLIP, FLOATS, SERVER, THETA, Directions, Listener, agreed_states, start_all, swarm
from torch import Tensor

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.facts import Fact, IterationFinished, LocalUpdateFinished, PrivacySpent, StateResumed
from marfl_peer.lab.simulator.simulation import Player, Simulation
from marfl_peer.learning.privacy.accountant import epsilon
from marfl_peer.learning.privacy.ledger import LEDGER_FILE, Ledger
from marfl_peer.learning.privacy.mechanism import Mechanism
from marfl_peer.peer.iterations import Averaged
from marfl_peer.peer.learner import Learner
from marfl_peer.peer.outfit import schema_of
from marfl_peer.peer.peer import Peer
from marfl_peer.peer.privacy import Privacy
from marfl_peer.peer.store import load_state
from marfl_peer.protocol.messages import Here, Propose
from marfl_peer.protocol.seats import Holding

NOISE = 5.0
PEERS, ITERATIONS = 4, 3
FAR = 4 / math.sqrt(FLOATS)
"""A correlation that independent vectors do not have."""


@dataclass(frozen=True, eq=False)
class Run:
    """A swarm that is over. `states`: what was agreed on, by peer and iteration."""

    simulation: Simulation
    listener: Listener
    states: dict[tuple[int, int], Tensor]

    def told(self, kind: type[Fact], index: int) -> list[Fact]:
        return [fact for fact in self.simulation.players[index].facts if isinstance(fact, kind)]

    def update_seen(self, index: int, iteration: int, *, server_momentum: float = 0.9) -> Tensor:
        """[FLOATS]: what a mate makes of what it received, knowing the state before."""
        before = self.states[index, iteration - 1]
        return self.listener.vectors[index, iteration][SERVER] - server_momentum * before[SERVER]


def _ended(simulation: Simulation, listener: Listener) -> Run:
    states: dict[tuple[int, int], Tensor] = {}
    agreed_states(simulation, lambda index, iteration, vector: states.__setitem__((index, iteration), vector))
    start_all(simulation)
    assert simulation.run(deadline=500.0)
    assert [player.error for player in simulation.players] == [None] * len(simulation.players)
    return Run(simulation, listener, states)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with swarm(tmp_path_factory.mktemp("private"), dp_noise=NOISE) as (simulation, listener):
        yield _ended(simulation, listener)


@pytest.fixture(scope="module")
def open_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The same swarm without differential privacy."""
    with swarm(tmp_path_factory.mktemp("open")) as (simulation, listener):
        yield _ended(simulation, listener)


def _averaged(*, weight: int, partial: int) -> Averaged:
    """The end of an iteration of four peers."""
    return Averaged(torch.zeros(1), Holding(weight=weight, sums=(), maxima=()), 2 - partial, partial, PEERS)


def _correlation(left: Tensor, right: Tensor) -> float:
    return abs(float(torch.corrcoef(torch.stack((left.double(), right.double())))[0, 1]))


def _secret(simulation: Simulation, index: int) -> Tensor:
    """[FLOATS]: the direction of all gradients, momenta and updates of a peer."""
    peer = simulation.players[index].peer
    assert peer is not None
    shard = peer._parts.learner.own_trainer().shard
    return Directions(PEERS).load(None).train_inputs[shard.train_indices].mean(0)


# what all agree on


def test_all_agree_bit_for_bit_on_model_momentum_and_threshold(private: Run) -> None:
    for iteration in range(ITERATIONS + 1):
        states = [private.states[index, iteration] for index in range(PEERS)]
        assert all(torch.equal(states[0], other) for other in states[1:]), iteration
    clips = [float(private.states[0, iteration][CLIP]) for iteration in range(ITERATIONS + 1)]
    assert len(set(clips)) == ITERATIONS + 1, "the threshold moves"


def test_agreed_state_is_that_after_the_mean_of_the_noised_updates(private: Run) -> None:
    for iteration in range(1, ITERATIONS + 1):
        before, after = private.states[0, iteration - 1].double(), private.states[0, iteration].double()
        updates = [private.update_seen(index, iteration).double() for index in range(PEERS)]
        momentum = 0.9 * before[SERVER] + torch.stack(updates).mean(0)
        torch.testing.assert_close(after[SERVER], momentum, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(after[THETA], before[THETA] + 0.1 * momentum, rtol=1e-4, atol=1e-5)


# what leaves a peer


def test_noise_of_every_update_is_what_a_single_mate_is_promised(private: Run) -> None:
    deviation = Mechanism(noise=NOISE, server_lr=0.1, server_momentum=0.9).update_noise
    for index in range(PEERS):
        for iteration in range(1, ITERATIONS + 1):
            clip = math.exp(float(private.states[index, iteration - 1][CLIP]))
            seen = private.update_seen(index, iteration)
            assert float(seen.std()) == pytest.approx(deviation * clip, rel=4 / math.sqrt(2 * FLOATS))


def test_noise_of_two_peers_and_of_two_iterations_is_not_correlated(private: Run) -> None:
    seen = [private.update_seen(index, iteration) for index in range(PEERS) for iteration in range(1, ITERATIONS + 1)]
    for number, left in enumerate(seen):
        for right in seen[:number]:
            assert _correlation(left, right) < FAR


def test_neither_momentum_nor_update_is_in_what_leaves(private: Run, open_run: Run) -> None:
    for index in range(PEERS):
        secret = _secret(private.simulation, index)
        for iteration in range(1, ITERATIONS + 1):
            sent, before = private.listener.vectors[index, iteration], private.states[index, iteration - 1]
            for part in (THETA, SERVER):
                assert _correlation(sent[part] - before[part], secret) < FAR
    # Without noise the same look finds both: this test can fail.
    sent = open_run.listener.vectors[0, 1]
    assert _correlation(sent[THETA], _secret(open_run.simulation, 0)) > 0.99
    assert _correlation(sent[SERVER], _secret(open_run.simulation, 0)) > 0.99


def test_every_update_weighs_the_same_and_no_loss_leaves(private: Run, open_run: Run) -> None:
    def seats(run: Run) -> list[tuple[int, tuple[float, ...]]]:
        found = [
            seat
            for _, message in run.listener.messages
            for seats in (
                [message.seats]
                if isinstance(message, Here)
                else [member.seats for member in message.members]
                if isinstance(message, Propose)
                else []
            )
            for seat in seats
            if message.name.round == 1  # type: ignore[union-attr]
        ]
        return [(seat.weight, seat.sums) for seat in found]

    assert {weight for weight, _ in seats(private)} == {1}
    assert {sums[:2] for _, sums in seats(private)} == {(0.0, 0.0)}
    assert any(sums[:2] != (0.0, 0.0) for _, sums in seats(open_run)), "without privacy the loss is among them"


def test_peer_tells_nothing_of_its_training(private: Run) -> None:
    for index in range(PEERS):
        for update in private.told(LocalUpdateFinished, index):
            assert isinstance(update, LocalUpdateFinished)
            assert (update.loss, update.samples, update.batches) == (None, 0, 0)
        assert [fact.train_loss for fact in private.told(IterationFinished, index)] == [None] * ITERATIONS  # type: ignore[attr-defined]


def test_momentum_stays_at_the_peer_and_is_saved_there(private: Run) -> None:
    for player in private.simulation.players:
        tensors, _ = load_state(player.host.disk)
        secret = _secret(private.simulation, player.index)
        assert _correlation(tensors["momentum/theta"], secret) > 0.99
        assert torch.equal(tensors["server/theta"], private.states[player.index, ITERATIONS][SERVER])


def test_all_agree_on_private_updates_that_travel_encoded(tmp_path: Path) -> None:
    with swarm(tmp_path, dp_noise=NOISE, codec="int8") as (simulation, listener):
        run = _ended(simulation, listener)
        for iteration in range(1, ITERATIONS + 1):
            assert all(torch.equal(run.states[0, iteration], run.states[other, iteration]) for other in range(1, PEERS))
        assert float(run.states[0, ITERATIONS][CLIP]) != float(run.states[0, 0][CLIP])


# a training loop of one's own


def test_own_training_loop_releases_only_what_is_noised(on_loop: Callable[..., Any], tmp_path: Path) -> None:
    settings = Settings(host="127.0.0.1", port=0, state_dir=tmp_path, shards=1, iterations=2, dp_noise=NOISE)
    task = Directions(1)
    facts: list[Fact] = []

    async def main() -> tuple[Tensor, Tensor, Tensor]:
        async with Peer(settings, task, data=task.load(None), sinks=(facts.append,)) as peer:
            model, optimizer = peer.model, torch.optim.SGD(peer.model.parameters(), lr=1.0, momentum=0.9)
            model.theta.data.add_(5.0)
            model.theta.grad = torch.ones(FLOATS)
            optimizer.step()
            momentum = optimizer.state[model.theta]["momentum_buffer"].clone()
            outcome = await peer.aggregate(model, optimizer, samples=1000)
            assert (outcome.took_part, outcome.weight, outcome.train_loss) == (True, 1, None)
            agreed = peer._parts.states.agreed
            assert agreed is not None
            assert torch.equal(model.theta.data, agreed.vector[THETA])
            return agreed.vector, momentum, optimizer.state[model.theta]["momentum_buffer"]

    agreed, momentum, kept = on_loop(main())
    assert torch.equal(momentum, kept), "the optimizer's momentum is neither sent nor replaced"
    deviation = Mechanism(noise=NOISE, server_lr=0.1, server_momentum=0.9).update_noise
    assert float(agreed[SERVER].std()) == pytest.approx(deviation * 0.1, rel=4 / math.sqrt(2 * FLOATS))
    torch.testing.assert_close(agreed[THETA], 0.1 * agreed[SERVER])
    (spent,) = [fact for fact in facts if isinstance(fact, PrivacySpent)]
    assert spent.releases == 1
    assert spent.epsilon_mate == spent.epsilon_outsider, "who is alone has nobody to hide behind"


# what it costs


@pytest.mark.parametrize(
    ("ended", "contributors"),
    [
        (_averaged(weight=3, partial=0), 3),
        (_averaged(weight=3, partial=1), 1),
        (_averaged(weight=2**31, partial=0), 4),
        (None, 1),
    ],
    ids=["complete", "a partial group", "an absurd weight", "left behind"],
)
def test_outsider_is_told_of_no_more_contributors_than_there_were(
    on_loop: Callable[..., Any], tmp_path: Path, ended: Averaged | None, contributors: int
) -> None:
    settings = Settings(state_dir=tmp_path, dp_noise=1.0)
    schema = schema_of(Directions(1).build_model(), settings)
    told: list[Fact] = []

    async def main() -> None:
        learner = Learner(schema, seed=0)
        privacy = Privacy.open(settings, schema, learner=learner, entropy=os.urandom, tell=told.append)
        assert privacy is not None
        agreed = torch.zeros(schema.length)
        await privacy.release(agreed.clone(), agreed=agreed, trained=True)
        await privacy.settle(ended, iteration=1, clip=1.0)
        await privacy.settle(ended, iteration=2, clip=1.0)  # in which it released nothing
        learner.close()

    on_loop(main())
    first, second = told
    assert isinstance(first, PrivacySpent)
    assert isinstance(second, PrivacySpent)
    assert first.epsilon_outsider == pytest.approx(epsilon([(contributors**0.5, 1)], delta=1e-5))
    assert (second.epsilon_mate, second.epsilon_outsider) == (first.epsilon_mate, first.epsilon_outsider)


def test_epsilons_that_are_told_are_those_of_the_releases(private: Run) -> None:
    for index in range(PEERS):
        told = private.told(PrivacySpent, index)
        assert [fact.iteration for fact in told] == [1, 2, 3]  # type: ignore[attr-defined]
        last = told[-1]
        assert isinstance(last, PrivacySpent)
        assert last.releases == ITERATIONS
        assert last.epsilon_mate == pytest.approx(epsilon([(NOISE, ITERATIONS)], delta=1e-5))
        assert last.epsilon_outsider == pytest.approx(epsilon([(NOISE * 2.0, ITERATIONS)], delta=1e-5))
        assert last.clip == pytest.approx(math.exp(float(private.states[index, ITERATIONS - 1][CLIP])))


def test_swarm_ends_before_its_budget_would_be_exceeded(tmp_path: Path) -> None:
    budget = epsilon([(NOISE, 2)], delta=1e-5) + 0.01
    with swarm(tmp_path, dp_noise=NOISE, dp_epsilon_budget=budget, iterations=9) as (simulation, listener):
        run = _ended(simulation, listener)
        for player in simulation.players:
            assert player.stopped is not None
            assert (player.stopped.reason, player.stopped.iteration) == ("budget_reached", 2)
            last = run.told(PrivacySpent, player.index)[-1]
            assert isinstance(last, PrivacySpent)
            assert last.epsilon_mate <= budget
        assert max(iteration for _, iteration in listener.vectors) == 2
        assert torch.equal(run.states[0, 2], run.states[3, 2])


def test_peer_whose_budget_is_spent_leaves_and_the_others_go_on(tmp_path: Path) -> None:
    with swarm(tmp_path, dp_noise=NOISE, iterations=6) as (simulation, listener):
        thrifty = simulation.players[2]
        thrifty_settings = simulation.settings.adopt({"dp_epsilon_budget": epsilon([(NOISE, 2)], delta=1e-5) + 0.01})
        everybody = simulation.settings
        for player in simulation.players:
            simulation.settings = thrifty_settings if player is thrifty else everybody
            simulation.start(player)
            simulation.world.run(until=lambda player=player: player.peer is not None, deadline=1.0)  # type: ignore[misc]
        simulation.settings = everybody
        assert simulation.run(deadline=500.0)
        ends = [player.stopped and (player.stopped.reason, player.stopped.iteration) for player in simulation.players]
        assert ends == [("finished", 6), ("finished", 6), ("budget_reached", 2), ("finished", 6)]
        assert max(iteration for host, iteration in listener.vectors if host == 2) == 2


def test_budget_that_not_even_one_release_fits_into_is_an_error(tmp_path: Path) -> None:
    with swarm(tmp_path, peers=2, dp_noise=1.0, dp_epsilon_budget=1.0) as (simulation, _):
        start_all(simulation)
        assert simulation.run(deadline=100.0)
        for player in simulation.players:
            assert player.error is not None
            assert "dp-epsilon-budget: 1.0: one update at --dp-noise 1 costs 4.7" in player.error


# lives


def _ledger(player: Player) -> Ledger:
    return Ledger.open(player.host.disk, run_id="simulated-5", task="blobs", delta=1e-5)


def test_killed_peer_resumes_with_ledger_momentum_and_threshold(tmp_path: Path) -> None:
    with swarm(tmp_path, dp_noise=NOISE, iterations=7) as (simulation, listener):
        victim, heard_before = simulation.players[3], 0

        def kill() -> None:
            nonlocal heard_before
            heard_before = sum(host == 3 for host, _ in listener.vectors)
            victim.host.crash()

        simulation.world.call(2.5, kill)
        simulation.world.call(3.5, lambda: simulation.start(victim))
        run = _ended(simulation, listener)
        assert heard_before > 0
        assert any(isinstance(fact, StateResumed) for fact in victim.facts)
        for player in simulation.players:
            released = sum(host == player.index for host, _ in listener.vectors)
            ledger = _ledger(player)
            assert released <= ledger.releases <= 7 + 1, "nothing left that is not in the ledger"
            told = run.told(PrivacySpent, player.index)[-1]
            assert isinstance(told, PrivacySpent)
            assert told.epsilon_mate == pytest.approx(epsilon([(NOISE, ledger.releases)], delta=1e-5))
        last = [run.states[player.index, 7] for player in simulation.players]
        assert all(torch.equal(last[0], other) for other in last[1:])


def test_peer_with_a_state_and_without_its_ledger_does_not_start(tmp_path: Path) -> None:
    with swarm(tmp_path, peers=2, dp_noise=NOISE) as (simulation, listener):
        _ended(simulation, listener)
        player = simulation.players[0]
        (player.host.disk / LEDGER_FILE).unlink()
        simulation.settings = simulation.settings.adopt({"iterations": 5})
        simulation.start(player)
        simulation.run(deadline=1000.0)
        assert player.error is not None
        assert "knows 0 of 3 releases" in player.error


def test_late_joiner_takes_momentum_and_threshold_with_the_state(tmp_path: Path) -> None:
    with swarm(tmp_path, dp_noise=NOISE, iterations=7, newcomers=1) as (simulation, listener):
        newcomer = simulation.add_newcomer()
        newcomer.host.tap = listener.tap(newcomer.index, 2 * FLOATS + 1)
        states: dict[tuple[int, int], Tensor] = {}
        agreed_states(simulation, lambda index, iteration, vector: states.__setitem__((index, iteration), vector))
        for player in simulation.players[:-1]:
            simulation.start(player)
        simulation.expect(1.5, lambda: simulation.start(newcomer))
        assert simulation.run(deadline=500.0)
        own = sorted(iteration for index, iteration in states if index == newcomer.index)
        assert own[1] > 1, "it came late"
        for iteration in own[1:]:
            assert torch.equal(states[newcomer.index, iteration], states[0, iteration])
        assert _ledger(newcomer).releases == sum(host == newcomer.index for host, _ in listener.vectors) > 0


def test_partial_participation_charges_only_releases_that_were_made(tmp_path: Path) -> None:
    options = {"dp_noise": NOISE, "participation_update": 0.5, "iterations": 5}
    with swarm(tmp_path, **options) as (simulation, listener):  # type: ignore[arg-type]
        run = _ended(simulation, listener)
        made = [run.told(PrivacySpent, index)[-1].releases for index in range(PEERS)]  # type: ignore[attr-defined]
        assert sum(made) == 2 * 5
        for player, count in zip(simulation.players, made, strict=True):
            assert {(entry.contributors, entry.releases) for entry in _ledger(player).entries} <= {(2, count)}
        sent = [sum(host == player.index for host, _ in listener.vectors) for player in simulation.players]
        assert sent == made, "who was not drawn has nothing to bring"


# what cannot be


def test_model_with_buffers_is_refused(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with pytest.raises(ConfigError, match="is a buffer of the model"):
        schema_of(model, Settings(dp_noise=1.0))
    assert schema_of(model, Settings()).length == 2 * 10 + 4
