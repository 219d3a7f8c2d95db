"""Views: equal digests are equal views, an event of iteration e takes effect in e + 2 and not before.

A second account of membership, from the events that a peer has heard of. That all who accept a ballot have one view is
`agreement`'s business.
"""

from __future__ import annotations

from marfl_peer.lab.simulator.invariants import sight
from marfl_peer.lab.simulator.invariants.checker import Checker, Trial
from marfl_peer.lab.simulator.invariants.scene import Life, Opened, Scene
from marfl_peer.protocol.view import MembershipEvent, View

DELAY = 2
_STANDING = {"joined": 0, "left": 1, "lost": 2}


class Views(Checker):
    invariant = "views"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self._known: dict[str, tuple[Life, View]] = {}
        self._seen: dict[Life, str] = {}

    def see(self, scene: Scene) -> None:
        if isinstance(scene, Opened):
            self._see_opened(scene)

    def _see_opened(self, scene: Opened) -> None:
        life, view = scene.life, scene.view
        first, known = self._known.setdefault(view.digest, (life, view))
        if known is not view and (known.peer_at, known.grid, known.incarnations) != (
            view.peer_at,
            view.grid,
            view.incarnations,
        ):
            text = f"its view has the digest of {first}'s, and other members or cells"
            self.accuse(text, iteration=scene.iteration, life=life)
        if view.iteration != scene.iteration or life.peer_id not in view.cell_of:
            self.accuse("opens an iteration in whose view it is not", iteration=scene.iteration, life=life)
        if self._seen.get(life) != view.digest and life.player.peer is not None:
            self._seen[life] = view.digest
            self._compare(scene, sight.membership_events(life.player.peer, scene.iteration))
        if len(set(view.cell_of.values())) < len(view.members):
            self.accuse("two members sit in one cell", iteration=scene.iteration, life=life)

    def _compare(self, scene: Opened, events: tuple[MembershipEvent, ...]) -> None:
        right = members_in(events, scene.iteration)
        if right != dict(scene.view.incarnations):
            odd = sorted({peer[:8] for peer, _ in {*right.items()} ^ {*scene.view.incarnations.items()}})
            text = f"its view does not follow from the events that it knows: it differs in {odd}"
            self.accuse(text, iteration=scene.iteration, life=scene.life)


def members_in(events: tuple[MembershipEvent, ...], iteration: int) -> dict[str, int]:
    """The members of an iteration's view and their incarnations, by the rule. A merge is about no single peer."""
    standing: dict[str, tuple[int, int]] = {}
    for event in events:
        if event.kind in _STANDING and event.iteration + DELAY <= iteration:
            one = event.incarnation, _STANDING[event.kind]
            standing[event.peer_id] = max(standing.get(event.peer_id, one), one)
    return {peer: incarnation for peer, (incarnation, kind) in sorted(standing.items()) if kind == 0}
