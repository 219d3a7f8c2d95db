"""What releases with Gaussian noise add up to: (epsilon, delta), as Google's dp-accounting counts.

Knows multipliers and numbers of releases. Heavy to import (SciPy): peers take it from `guarding` when they need it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from dp_accounting import DpEvent, GaussianDpEvent, PoissonSampledDpEvent, PrivacyAccountant
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

Releases = tuple[float, int]
"""A noise multiplier, and how many releases had it."""
FINEST_STEP = 1e-4
MOST_STEPS = 1e5


def epsilon(releases: Iterable[Releases], *, delta: float, sampled: float = 1.0) -> float:
    """An upper bound of epsilon at `delta` by Renyi differential privacy; 0 without releases. This is what is told.

    `sampled` below 1 holds only where everybody's part in each release is drawn independently (Poisson) and kept
    secret: peers, whose participation follows from a public seed, must not claim it.
    """
    return _composed(RdpAccountant(), _events(releases, sampled), delta)


def tight_epsilon(releases: Iterable[Releases], *, delta: float, sampled: float = 1.0) -> float:
    """The same by the privacy loss distribution, rounded up: nearer to the truth, and slower. For comparison."""
    events = _events(releases, sampled)
    rough = _composed(RdpAccountant(), events, delta)
    # The grid that losses are rounded up to: fine where epsilon is small, never too long where it is large.
    accountant = PLDAccountant(value_discretization_interval=max(FINEST_STEP, rough / MOST_STEPS))
    return _composed(accountant, events, delta)


def _events(releases: Iterable[Releases], sampled: float) -> Mapping[DpEvent, int]:
    counted = [(multiplier, count) for multiplier, count in releases if count]
    if sampled < 1.0:
        return MappingProxyType(
            {PoissonSampledDpEvent(sampled, GaussianDpEvent(multiplier)): count for multiplier, count in counted}
        )
    # Gaussians compose to a Gaussian, exactly: one event is quick, however many releases there were.
    total = sum(count / multiplier**2 for multiplier, count in counted)
    return MappingProxyType({GaussianDpEvent(1.0 / math.sqrt(total)): 1} if total else {})


def _composed(accountant: PrivacyAccountant, events: Mapping[DpEvent, int], delta: float) -> float:
    for event, count in events.items():
        accountant.compose(event, count)
    return float(accountant.get_epsilon(delta)) if events else 0.0
