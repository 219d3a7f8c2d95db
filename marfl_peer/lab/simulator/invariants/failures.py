"""Nothing raises what nobody expects: neither in a task of a loop, nor out of a peer's life."""

from __future__ import annotations

from marfl_peer.lab.simulator.invariants.checker import Checker
from marfl_peer.lab.simulator.invariants.scene import Scene, Trouble

EXPECTED_IN_TROUBLE = ("dht:",)
"""Ends of peers that found nobody to go to."""


class Failures(Checker):
    invariant = "failure"

    def see(self, scene: Scene) -> None:
        if isinstance(scene, Trouble) and scene.player is not None and scene.what.startswith("failure"):
            self.accuse(f"peer {scene.player.index}: {scene.what}")

    def ended(self, time: float) -> None:
        for index in sorted(self.trial.cast.lives):
            player = self.trial.cast.lives[index][-1].player
            error = player.error
            if error is None or player.stopped is not None:
                continue
            if not (self.trial.peace.was_ever_broken and error.startswith(EXPECTED_IN_TROUBLE)):
                self.accuse(f"peer {index} ended with an error: {error}")
