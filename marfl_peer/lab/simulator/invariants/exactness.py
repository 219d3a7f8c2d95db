"""I6: after the last round everybody holds the exact sample-weighted mean of all who were there, bit for bit the same.

In peace: of every live member of the view. Otherwise: what a peer ends with is what the ballots on its way give; and
where no line on that way went without a cell after round 1, everybody counted is counted by their samples. Where values
are rounded bits may differ in the iteration in which that may begin and in the next one, but no longer.
"""

from __future__ import annotations

from functools import lru_cache

from marfl_peer.ids import Round
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.ledger import Worth
from marfl_peer.lab.simulator.invariants.scene import Agreed, Finished, Held, Life, Opened, Scene, Updated
from marfl_peer.protocol.placement import default_players
from marfl_peer.protocol.view import View

SHARE_TOLERANCE = 1e-6


@lru_cache(maxsize=16)
def _players_of_lines(view: View) -> list[set[str]]:
    """The players of each line of the grid, while nobody is lost."""
    players = default_players(view)
    lines = [line for round in range(1, view.grid.rounds + 1) for line in view.grid.lines(Round(round))]
    return [{players[cell] for cell in line} for line in lines]


class Exactness(Checker):
    invariant = "I6"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._began: dict[int, float] = {}
        self._views: dict[tuple[Life, int], str] = {}
        self._updated: dict[tuple[Life, int], float] = {}
        self._bits: dict[tuple[int, str], tuple[Life, bytes]] = {}
        self._merged: set[int] = set()
        self._is_rounded = trial.settings.codec != "float32"
        self._bases: dict[int, bytes] = {}
        self._finished: set[tuple[Life, int]] = set()
        self._inexact: set[int] = set()
        """Iterations in which rounding may give parallel lines different bits."""

    def see(self, scene: Scene) -> None:
        match scene:
            case Opened():
                self._began.setdefault(scene.iteration, scene.time)
                self._see_opened(scene)
                self._views[scene.life, scene.iteration] = scene.view.digest
            case Updated():
                self._updated[scene.life, scene.iteration] = scene.time
            case Agreed():
                if any(sum(seat.weight > 0 for seat in member.seats) > 1 for member in scene.members):
                    self._merged.add(scene.name.iteration)
            case Held() if scene.name.round > 1 or scene.outcome in ("taken", "skipped"):
                if scene.outcome != "complete":
                    self._inexact |= {scene.name.iteration, scene.name.iteration + 1}
            case Finished():
                self._finished.add((scene.life, scene.iteration))
                self._see_finished(scene)
            case _:
                pass

    def _see_opened(self, scene: Opened) -> None:
        """Members that begin from different states, or that missed the iteration before under the same view."""
        iteration, before = scene.iteration, scene.iteration - 1
        is_other = self._bases.setdefault(iteration, scene.base.tobytes()) != scene.base.tobytes()
        was_away = (scene.life, before) not in self._finished and any(
            then == before and digest == scene.view.digest for (_, then), digest in self._views.items()
        )
        if was_away or (is_other and before not in self._inexact):
            self._inexact |= {iteration, iteration + 1}

    def _see_finished(self, scene: Finished) -> None:
        life, view, iteration = scene.life, scene.view, scene.iteration
        if scene.model.tobytes() != scene.vector.tobytes():
            self.accuse("its model is not the state that it agreed on", iteration=iteration, life=life)
        if view.grid.rounds == 0:
            return
        worth = self.trial.ledger.worth(life, iteration, view, view.cell_of[life.peer_id], view.grid.rounds + 1)
        if worth is None:
            return
        if worth.weight != scene.weight:
            text = f"ends with weight {scene.weight}, its lines gave {worth.weight}"
            self.accuse(text, iteration=iteration, life=life)
        if worth.weight and worth.vector is not None and worth.vector.tobytes() != scene.vector.tobytes():
            self.accuse("does not end with what its last line gave", iteration=iteration, life=life)
        if worth.is_whole and worth.weight:
            self._by_samples(scene, worth)
        self._with_one_lost(scene, worth)
        if self.trial.peace.held_since(self._began.get(iteration, scene.time)):
            self._in_peace(scene, worth)

    def _by_samples(self, scene: Finished, worth: Worth) -> None:
        """Everybody who is counted is counted by their samples, and the weights add up."""
        weights = {index: self._weight_of(index, scene) for index in worth.counted}
        if any(weight is None for weight in weights.values()):
            return
        total = sum(weight or 0 for weight in weights.values())
        if total != worth.weight:
            text = f"weight {worth.weight}, but {sorted(weights)} own {total} samples"
            self.accuse(text, iteration=scene.iteration, life=scene.life)
            return
        for index, share in sorted(worth.counted.items()):
            right = (weights[index] or 0) / total
            if abs(share - right) > SHARE_TOLERANCE:
                text = f"peer {index} counts for {share:.6f}, not for {right:.6f}"
                self.accuse(text, iteration=scene.iteration, life=scene.life)
                return

    def _weight_of(self, index: int, scene: Finished) -> int | None:
        for life in reversed(self.trial.cast.lives[index]):
            own = self.trial.ledger.own(life, scene.iteration, scene.view)
            if own is not None:
                return own.weight
        return None

    def _with_one_lost(self, scene: Finished, worth: Worth) -> None:
        """Where at most one member was lost on the way, everybody else counts in full: its cell is played on."""
        if self.trial.hostile or not self.trial.peace.is_fair():
            return
        view, iteration = scene.view, scene.iteration
        began = self._began.get(iteration, scene.time)
        whole: list[Life] = []
        lost = 0
        for peer_id in view.members:
            life = self.trial.cast.by_id(peer_id)
            if life is None and self.trial.cast.was_killed(peer_id, since=began):
                lost += 1
            elif life is None or life.began_at >= began or self.trial.peace.was_touched(life.player.index, since=began):
                return
            elif not self._counts(life, view):
                lost += 1  # started again: the view counts an earlier life of it
            elif (life, iteration) not in self._updated:
                return  # late: see below
            elif self._views.get((life, iteration)) == view.digest:
                whole.append(life)
            if lost > 1:
                return
        if any(len(players) == 1 for players in _players_of_lines(view)):
            return
        for life in whole:
            own = self.trial.ledger.own(life, iteration, view)
            if own is None or own.weight == 0:
                continue
            right, share = own.weight / worth.weight if worth.weight else 0.0, worth.counted.get(life.player.index, 0.0)
            if abs(share - right) > SHARE_TOLERANCE:
                text = f"{life} counts for {share:.6f}, not for {right:.6f}, though at most one member was lost"
                self.accuse(text, iteration=iteration, life=scene.life)
                return

    def _in_peace(self, scene: Finished, worth: Worth) -> None:
        iteration, view = scene.iteration, scene.view
        counting = [life for life in self.trial.cast.all_running() if self._counts(life, view)]
        live = {life.peer_id for life in counting}
        if not all(players & live for players in _players_of_lines(view)):
            return  # a whole line is gone
        if any((life, iteration) not in self._updated for life in counting):
            return  # somebody is late, by more than the others wait: so is who waits for it on its line
        for life in counting:
            if self._views.get((life, iteration)) != view.digest:
                continue
            own = self.trial.ledger.own(life, iteration, view)
            if own is not None and own.weight == 0:
                continue
            if life.player.index not in worth.counted:
                self.accuse(f"ends without the update of {life}", iteration=iteration, life=scene.life)
                return
        if self._is_rounded and iteration in self._inexact:
            return
        if iteration in self._merged:
            return  # cells of one player on one line are summed before the line is: equal up to rounding
        bits = scene.vector.tobytes()
        first, theirs = self._bits.setdefault((iteration, view.digest), (scene.life, bits))
        if bits != theirs:
            self.accuse(f"ends with other bits than {first}", iteration=iteration, life=scene.life)

    @staticmethod
    def _counts(life: Life, view: View) -> bool:
        """Whether a life, not an earlier one of its peer, is in the view."""
        return view.incarnations.get(life.peer_id) == life.incarnation
