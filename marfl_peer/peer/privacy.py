"""Stands between a local update and the network where updates are private: charges the ledger, then clips and noises.

One release an iteration: what comes back of here is the only thing of an update that leaves the peer, however often the
rounds of the iteration begin. Knows when to release and what it adds up to; how is `learning.privacy`'s.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from marfl_peer.averaging.vector import VectorSchema
from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError, LocalProtocolError
from marfl_peer.facts import PrivacySpent, Sink
from marfl_peer.learning.privacy.ledger import LEDGER_FILE, Ledger
from marfl_peer.learning.privacy.mechanism import Mechanism, release_, threshold_of
from marfl_peer.learning.privacy.noise import Normals
from marfl_peer.peer.iterations import Averaged
from marfl_peer.peer.learner import Learner

WEIGHT = 1
"""Of every private update: how many samples a peer has is private, too, and would tell what it adds to the mean."""
RELEASES = "releases"

Part = Mapping[str, str | int | float | bool | None]


class Epsilon(Protocol):
    """`learning.privacy.accountant.epsilon`."""

    def __call__(self, releases: list[tuple[float, int]], *, delta: float) -> float: ...


def load_accountant() -> Epsilon:
    """What adds up releases. Loaded by name: a peer without private updates need not hold SciPy in memory."""
    epsilon: Epsilon = importlib.import_module("marfl_peer.learning.privacy.accountant").epsilon
    return epsilon


class Privacy:
    """Of one peer, in one life. `entropy(count)` gives random bytes; it is asked anew for every release."""

    def __init__(
        self,
        *,
        settings: Settings,
        schema: VectorSchema,
        learner: Learner,
        ledger: Ledger,
        entropy: Callable[[int], bytes],
        tell: Sink,
    ) -> None:
        """Raises: ConfigError for a budget that is less than the first release costs."""
        self._settings, self._schema, self._learner = settings, schema, learner
        self._ledger, self._entropy, self._tell = ledger, entropy, tell
        self._mechanism = Mechanism.of(settings)
        self._epsilon = load_accountant()
        self._is_unsettled = False
        self.is_spent = self._would_exceed()
        if self.is_spent and not ledger.releases:
            cost = self._epsilon([(settings.dp_noise, 1)], delta=settings.dp_delta)
            remedy = f"one update at --dp-noise {settings.dp_noise:g} costs {cost:.4g}: allow more, or add noise"
            raise ConfigError("dp-epsilon-budget", settings.dp_epsilon_budget, remedy)

    @classmethod
    def open(
        cls,
        settings: Settings,
        schema: VectorSchema,
        *,
        learner: Learner,
        entropy: Callable[[int], bytes],
        tell: Sink,
    ) -> Privacy | None:
        """None where updates are not private. Raises: ConfigError, also for a ledger that cannot be used."""
        if not settings.dp_noise:
            return None
        ledger = Ledger.open(settings.state_dir, run_id=settings.run_id, task=settings.task, delta=settings.dp_delta)
        return cls(settings=settings, schema=schema, learner=learner, ledger=ledger, entropy=entropy, tell=tell)

    async def release(self, vector: Tensor, *, agreed: Tensor, trained: bool) -> None:
        """Turns `vector` [n], packed after a local update from `agreed` [n], into what may leave; it is charged first.

        Raises: ConfigError where the ledger cannot be written; LocalProtocolError beyond the budget.
        """
        if self.is_spent:
            raise LocalProtocolError("the privacy budget is spent: the run is over for this peer")

        def work() -> None:
            self._ledger.charge(self._settings.dp_noise)
            self._is_unsettled = True
            normals = Normals(self._entropy)
            release_(
                *(self._schema, vector), agreed=agreed, trained=trained, mechanism=self._mechanism, normals=normals
            )

        await self._learner.in_thread(work)

    async def settle(self, averaged: Averaged | None, *, iteration: int, clip: float) -> None:
        """The iteration is over; None: the swarm went on without this peer, whose release may be in what others hold.

        Models of peers can differ where a group was partial, and what lies between two of them is of fewer updates than
        either: such a release counts for an outsider as for a mate.
        """
        alone = averaged is None or averaged.groups_partial > 0
        contributors = 1 if averaged is None or alone else min(averaged.holding.weight, averaged.peers)

        def work() -> PrivacySpent:
            if self._is_unsettled:
                self._is_unsettled = False
                self._ledger.settle(self._settings.dp_noise, contributors=contributors)
                self.is_spent = self._would_exceed()
            return self._spent(iteration, clip)

        self._tell(await self._learner.in_thread(work))

    def threshold(self, agreed: Tensor) -> float:
        """C in the iteration after this state [n]."""
        return threshold_of(self._schema, agreed)

    # beside a saved state

    def part(self) -> Part:
        """What a saved state says of the ledger beside it."""
        return {RELEASES: self._ledger.releases}

    def check(self, part: Part) -> None:
        """Raises: ConfigError where the ledger is older than a state that was saved beside it."""
        known = part.get(RELEASES, 0)
        if isinstance(known, int) and known > self._ledger.releases:
            path = str(self._settings.state_dir / LEDGER_FILE)
            remedy = f"the privacy ledger knows {self._ledger.releases} of {known} releases: restore the file"
            raise ConfigError("state-dir", path, remedy)

    # adding up

    def _against_mate(self) -> list[tuple[float, int]]:
        return [(entry.noise, entry.releases) for entry in self._ledger.entries]

    def _against_outsider(self) -> list[tuple[float, int]]:
        """The mean of k updates moves by C / k, and has noise of z C / sqrt(k) on it: a multiplier of z sqrt(k)."""
        return [(entry.noise * entry.contributors**0.5, entry.releases) for entry in self._ledger.entries]

    def _would_exceed(self) -> bool:
        budget, noise = self._settings.dp_epsilon_budget, self._settings.dp_noise
        if budget is None:
            return False
        return self._epsilon([*self._against_mate(), (noise, 1)], delta=self._settings.dp_delta) > budget

    def _spent(self, iteration: int, clip: float) -> PrivacySpent:
        delta = self._settings.dp_delta
        return PrivacySpent(
            iteration=iteration,
            epsilon_mate=self._epsilon(self._against_mate(), delta=delta),
            epsilon_outsider=self._epsilon(self._against_outsider(), delta=delta),
            delta=delta,
            clip=clip,
            noise_std=self._mechanism.update_noise * clip,
            releases=self._ledger.releases,
        )
