"""What leaves a peer of an update under differential privacy: the clipped difference from the agreed theta, and whether
it had to be clipped, both with Gaussian noise of the peer's own, calibrated to who sees this one release.

DP-FedAvg with adaptive clipping (Andrew et al. 2021, arXiv 1905.03871) without a server: everybody turns its noisy
update into the state that would follow if it were alone, which is linear in it; the mean of those is the state after
the mean update. The threshold travels as its logarithm for the same reason, so that all agree on it. Knows vectors and
numbers only; what was released is counted by the ledger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marfl_peer.averaging.vector import VectorSchema
from marfl_peer.config import Settings
from marfl_peer.learning.privacy.noise import Normals

QUANTILE = 0.5
"""The share of the updates that are to be within the threshold."""
CLIP_RATE = 0.2
"""How fast the threshold follows."""
BIT_SHARE = 0.1
"""Of a release's privacy loss (in 1 / multiplier^2) what telling the bit costs; the update has the rest."""
SMALLEST_CLIP, LARGEST_CLIP = 1e-6, 1e6
"""A threshold beyond is taken for this: what others state must not make it zero or infinite."""
_SLACK = 1.0 - 2.0**-20
"""An update is scaled to a hair less than the threshold: float32 may round it up."""
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """`noise` is z, the multiplier of a whole release, update and bit together, against whoever sees it.

    z^-2 = update_noise^-2 + (2 bit_noise)^-2 (Andrew et al., Theorem 1): the bit counts as -1/2 or 1/2.
    """

    noise: float
    server_lr: float
    server_momentum: float

    @classmethod
    def of(cls, settings: Settings) -> Mechanism:
        return cls(
            noise=settings.dp_noise, server_lr=settings.dp_server_lr, server_momentum=settings.dp_server_momentum
        )

    @property
    def update_noise(self) -> float:
        """z_D: standard deviation of the noise on a coordinate of the update, in thresholds."""
        return self.noise / math.sqrt(1.0 - BIT_SHARE)

    @property
    def bit_noise(self) -> float:
        """sigma_b: standard deviation of the noise on the bit."""
        return self.noise / (2.0 * math.sqrt(BIT_SHARE))


def initial_(schema: VectorSchema, vector: Tensor, *, clip: float) -> None:
    """Writes what a run starts from into `vector` [n], besides theta: no server momentum, and the first threshold."""
    if schema.is_private:
        vector[schema.theta_length :] = 0.0
        vector[schema.clip_at] = math.log(clip)


def threshold_of(schema: VectorSchema, vector: Tensor) -> float:
    """C, the L2 norm that updates are clipped to in the iteration after the state `vector` [n]."""
    stated = float(vector[schema.clip_at])
    lowest, highest = math.log(SMALLEST_CLIP), math.log(LARGEST_CLIP)
    return math.exp(min(max(stated, lowest), highest) if math.isfinite(stated) else lowest)


@torch.no_grad()
def release_(
    schema: VectorSchema, vector: Tensor, *, agreed: Tensor, trained: bool, mechanism: Mechanism, normals: Normals
) -> None:
    """Turns `vector` [n], whose theta a local update left, into what may leave the peer.

    Delta = theta - agreed theta is clipped to C; with Delta' = Delta + N(0, (z_D C)^2): S <- beta S + Delta',
    theta <- agreed theta + server_lr S, log C <- log C - 0.2 (b' - 0.5) with b' = (||Delta|| <= C) + N(0, sigma_b^2).
    A peer that has not `trained` releases the same with Delta = 0 and a bit of 1/2, so that nobody can tell. An update
    that is not finite counts as one of length 0 that was clipped.
    """
    clip, n = threshold_of(schema, agreed), schema.theta_length
    delta = vector[:n].sub_(agreed[:n]) if trained else vector[:n].zero_()
    norm = float(torch.linalg.vector_norm(delta, dtype=torch.float64))
    if not math.isfinite(norm):
        delta.zero_()
    scale = clip / norm * _SLACK if math.isfinite(norm) and norm > clip * _SLACK else 1.0
    _add_noise_(delta, scale, mechanism.update_noise * clip, normals)
    if schema.server_length:
        agreed_momentum = agreed[n : n + schema.server_length]
        delta = torch.add(delta, agreed_momentum, alpha=mechanism.server_momentum, out=vector[n : 2 * n])
    torch.add(agreed[:n], delta, alpha=mechanism.server_lr, out=vector[:n])
    bit = 0.5 if not trained else float(norm <= clip)
    noisy_bit = bit + mechanism.bit_noise * float(normals.take(1)[0])
    vector[schema.clip_at] = float(agreed[schema.clip_at]) - CLIP_RATE * (noisy_bit - QUANTILE)


def _add_noise_(delta: Tensor, scale: float, deviation: float, normals: Normals) -> None:
    """delta <- scale delta + N(0, deviation^2), drawn and added in double precision and rounded once, to float32: of
    the lowest bits, which would tell the noise from what it hides, nothing is left."""
    for block in torch.split(delta, _BLOCK):
        noise = torch.from_numpy(normals.take(block.numel()))
        block.copy_(noise.mul_(deviation).add_(block.double(), alpha=scale))
