"""Standard normal numbers that nobody can foretell: a ChaCha20 stream under a key from the operating system's entropy,
turned into Gaussians by Box and Muller, in double precision.

Knows bytes and numbers; not what they are added to.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

Doubles = npt.NDArray[np.float64]
KEY_BYTES = 32
_NO_NONCE = bytes(16)
"""A key is used for one stream only, which may therefore begin at zero."""
_STEP = 2.0**-53


class Normals:
    """One stream of independent numbers from N(0, 1), each of which is given away once.

    `entropy(count)` gives random bytes and is called once: `os.urandom`, or a simulated host's.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._stream = Cipher(ChaCha20(entropy(KEY_BYTES), _NO_NONCE), mode=None).encryptor()

    def take(self, count: int) -> Doubles:
        """The next numbers, float64 [count]."""
        pairs = (count + 1) // 2
        uniform = self._uniform(2 * pairs)
        # 1 - u is never 0, whose logarithm there is none. The largest number that can come is 8.6.
        radius = np.sqrt(-2.0 * np.log1p(-uniform[:pairs]))
        angle = 2.0 * math.pi * uniform[pairs:]
        return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count]

    def _uniform(self, count: int) -> Doubles:
        """float64 [count] in [0, 1), multiples of 2^-53."""
        random = np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")
        return (random >> np.uint64(11)).astype(np.float64) * _STEP
