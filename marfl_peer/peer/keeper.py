"""From an agreed state to what is on disk: model and momentum, place in the data, who was there.

Knows what a manifest is made of; how it is written is the store's, when the saver's.
"""

from __future__ import annotations

import msgspec

from marfl_peer.config import Settings
from marfl_peer.facts import TargetReached
from marfl_peer.network.identity import Identity
from marfl_peer.peer.learner import Learner, ModelAtHand, Snapshot
from marfl_peer.peer.privacy import Privacy
from marfl_peer.peer.resuming import settings_digest
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.saving import Saver, Unsaved
from marfl_peer.peer.states import State, digest_of
from marfl_peer.peer.store import Manifest, save_state

MAX_MEMBERS = 256
"""Addresses that are kept for the next start."""
PRIVACY_PART = "privacy"
"""Of a manifest: what the ledger beside it knew."""


class Keeper:
    def __init__(
        self,
        *,
        settings: Settings,
        identity: Identity,
        learner: Learner,
        roster: Roster,
        saver: Saver,
        privacy: Privacy | None = None,
    ) -> None:
        self._settings, self._identity, self._learner, self._roster = settings, identity, learner, roster
        self._saver, self._privacy = saver, privacy
        self._settings_digest = settings_digest(settings)

    async def keep(self, hand: ModelAtHand, state: State, reached: TargetReached | None) -> None:
        """Takes a copy of what `hand` holds, which is `state`, and has it written beside what comes next."""
        snapshot = await self._learner.snapshot(hand, state.vector)
        manifest = self._manifest(state, snapshot, reached)
        state_dir, vector = self._settings.state_dir, state.vector

        def write() -> int:
            return save_state(state_dir, msgspec.structs.replace(manifest, digest=digest_of(vector)), snapshot.tensors)

        self._saver.save(Unsaved(state.iteration, write))

    def _manifest(self, state: State, snapshot: Snapshot, reached: TargetReached | None) -> Manifest:
        """All but what takes time to find out."""
        members = [
            (peer, *body.address)
            for peer, body in sorted(self._roster.bodies.items())
            if peer != self._roster.me and body.address is not None
        ]
        return Manifest(
            peer_id=self._identity.peer_id,
            incarnation=self._identity.incarnation,
            run_id=self._settings.run_id,
            task=self._settings.task,
            settings=self._settings_digest,
            schema=self._learner.schema.digest,
            iteration=state.iteration,
            digest="",
            group=state.group,
            reached=None if reached is None else reached.test_accuracy,
            shard=snapshot.shard,
            epoch=snapshot.position.epoch,
            offset=snapshot.position.offset,
            members=tuple(members[:MAX_MEMBERS]),
            parts={} if self._privacy is None else {PRIVACY_PART: self._privacy.part()},
        )
