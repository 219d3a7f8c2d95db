"""I9: nothing is lost. Incarnations grow, a new one enters no running ballot, and who resumes from disk has what it
saved: the iteration, model and momentum, and the place in its data."""

from __future__ import annotations

from dataclasses import dataclass

from marfl_peer.facts import Fact, StateSaved
from marfl_peer.ids import PeerId
from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import NOBODY, Agreed, Finished, Life, Opened, Scene, Told
from marfl_peer.lab.simulator.invariants.sight import Place
from marfl_peer.protocol.messages import Ballot, LineName

RESUMED, REJECTED = "StateResumed", "StateRejected"
"""Facts of peers that read their state back."""


@dataclass(slots=True, eq=False)
class _Disk:
    """What a player reported saved: the last iteration, and the states it ended iterations with."""

    saved: int = 0
    states: dict[int, tuple[bytes, Place]] | None = None
    incarnation: int = -1
    peer_id: PeerId = NOBODY


class NothingLost(Checker):
    invariant = "I9"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._disks: dict[int, _Disk] = {}
        self._resumed: dict[Life, tuple[int, int]] = {}
        self._lives: dict[tuple[str, LineName, Ballot], Life] = {}

    def see(self, scene: Scene) -> None:
        match scene:
            case Told():
                self._see_fact(scene, scene.fact)
            case Finished():
                disk = self._disk(scene.life)
                disk.states = disk.states or {}
                disk.states[scene.iteration] = scene.vector.tobytes(), scene.place
                disk.states.pop(scene.iteration - 4, None)
            case Opened():
                self._see_opened(scene)
            case Agreed():
                self._see_agreed(scene)
            case _:
                pass

    def _disk(self, life: Life) -> _Disk:
        return self._disks.setdefault(life.player.index, _Disk())

    def _see_fact(self, scene: Told, fact: Fact) -> None:
        life, disk = scene.life, self._disk(scene.life)
        if isinstance(fact, StateSaved):
            disk.saved = max(disk.saved, fact.iteration)
        elif type(fact).__name__ == RESUMED:
            self._resumed[life] = getattr(fact, "iteration", 0), disk.saved
        elif type(fact).__name__ == REJECTED and not self._was_damaged(life):
            self.accuse(f"could not read back what it had saved: {getattr(fact, 'detail', '')}", life=life)
        if life.peer_id and type(fact).__name__ == "PeerStarted":
            if disk.peer_id == life.peer_id and life.incarnation <= disk.incarnation:
                text = f"incarnation {life.incarnation} again, the life before had {disk.incarnation}"
                self.accuse(text, life=life)
            elif disk.peer_id != life.peer_id:
                self._disks[life.player.index] = _Disk(peer_id=life.peer_id)
            self._disk(life).incarnation = life.incarnation

    def _see_opened(self, scene: Opened) -> None:
        """The first iteration of a life that resumed: it goes on with what was saved, or with what it fetched since."""
        life = scene.life
        resumed = self._resumed.pop(life, None)
        peer = life.player.peer
        if resumed is None or peer is None:
            return
        iteration, saved = resumed
        if iteration < saved:
            self.accuse(f"resumes after iteration {iteration}, it had saved {saved}", life=life)
        states = self._disk(life).states or {}
        if scene.iteration == iteration + 1 and iteration in states:
            bits, place = states[iteration]
            if scene.base.tobytes() != bits:
                self.accuse(f"does not resume with the model and momentum of iteration {iteration}", life=life)
            now = sight.place_in_data(peer)
            if now != place and now.shard == place.shard:  # its shard may be another's in a swarm that was begun anew
                self.accuse(f"resumes at {now[1:]} of shard {now.shard}, it was at {place[1:]}", life=life)

    def _see_agreed(self, scene: Agreed) -> None:
        life = scene.life
        counted = scene.view.incarnations.get(life.peer_id)
        if counted is not None and counted < life.incarnation:
            text = f"incarnation {life.incarnation} enters a ballot in the place of incarnation {counted}"
            self.accuse(text, iteration=scene.name.iteration, life=life)
        first = self._lives.setdefault((life.peer_id, scene.name, scene.ballot), life)
        if first is not life:
            self.accuse("enters a ballot of its earlier life", iteration=scene.name.iteration, life=life)

    def _was_damaged(self, life: Life) -> bool:
        return self.trial.peace.was_ever("disk", "damage", "wipe")
