"""I8: hostile bytes are inert. Nobody who keeps the rules is accused, who breaks them is dropped, and the rest goes on.

That nothing raises is `failures`' business, that the swarm goes on `liveness`'s, that nothing false gets into a mean
`mean`'s and `exactness`'s.
"""

from __future__ import annotations

import numpy as np

from marfl_peer.facts import RemoteFault
from marfl_peer.lab.simulator.invariants.checker import Checker
from marfl_peer.lab.simulator.invariants.scene import Finished, Held, Life, Scene, Told
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES
from marfl_peer.protocol.messages import AnyMessage

SILENCE = {"silent", "not_reading", "peer_lost"}
"""Faults that slow or lost peers are accused of, too."""


class Inertness(Checker):
    invariant = "I8"

    def see(self, scene: Scene) -> None:
        match scene:
            case Told(fact=RemoteFault() as fact):
                self._see_fault(scene, fact)
            case Held() if scene.vector is not None and scene.weight and not np.isfinite(scene.vector).all():
                self.accuse("holds a result that is not finite", iteration=scene.name.iteration, life=scene.life)
            case Finished() if not np.isfinite(scene.vector).all():
                self.accuse("ends with a state that is not finite", iteration=scene.iteration, life=scene.life)
            case _:
                pass

    def heard(self, time: float, life: Life, sender: str, message: AnyMessage, payload_bytes: int) -> None:
        if payload_bytes > MAX_PAYLOAD_BYTES:
            self.accuse(f"took in a payload of {payload_bytes} bytes from {sender[:8]}", life=life)

    def _see_fault(self, scene: Told, fact: RemoteFault) -> None:
        if fact.code in SILENCE or self.trial.hostile:
            return
        self.accuse(f"accuses {fact.remote[:8]}, which kept the rules, of {fact.code}: {fact.detail}", life=scene.life)
