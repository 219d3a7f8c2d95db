from __future__ import annotations

from collections import Counter

from broken import scenario

from marfl_peer.lab.simulator.invariants.checker import Checker
from marfl_peer.lab.simulator.invariants.scene import Finished, Held, Opened, Scene
from marfl_peer.lab.simulator.invariants.watch import Watch
from marfl_peer.lab.simulator.simulation import Simulation


def test_lens_shows_each_step_of_each_peer(tmp_path: object) -> None:
    seen: list[Scene] = []

    class Looker(Checker):
        invariant = "none"

        def see(self, scene: Scene) -> None:
            seen.append(scene)

    given = scenario(peers=4, group_size=2, iterations=2)
    watch = Watch(given, checkers=(Looker,))
    simulation = Simulation(given, folder=tmp_path, on_fact=watch.fact, on_note=watch.note)  # type: ignore[arg-type]
    watch.attach(simulation)
    for player in simulation.players:
        simulation.start(player)
    assert simulation.run(deadline=600.0)
    simulation.close()
    counts = Counter(type(scene).__name__ for scene in seen)
    assert [counts[name] for name in ("Opened", "Updated", "Finished", "Agreed", "Held")] == [8, 8, 8, 16, 16]
    finished = [scene for scene in seen if isinstance(scene, Finished)]
    assert all((scene.model == scene.vector).all() for scene in finished)
    last = {scene.life: scene for scene in seen if isinstance(scene, Held) and scene.name.round == 2}
    assert {scene.weight for scene in last.values()} == {sum(_samples(simulation))}
    first = [scene.base.tobytes() for scene in seen if isinstance(scene, Opened) and scene.iteration == 1]
    assert len(set(first)) == 1


def _samples(simulation: Simulation) -> list[int]:
    facts = [fact for player in simulation.players for fact in player.facts]
    return [fact.samples for fact in facts if type(fact).__name__ == "ShardClaimed"]
