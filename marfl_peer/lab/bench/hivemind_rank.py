"""What peers are measured against where it is installed: the averager of hivemind, with its own defaults but for the
size of groups. It is no dependency of this package.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
from typing import Any  # hivemind has no types

from marfl_peer.lab.bench.vectors import own_vector
from marfl_peer.lab.bench.words import HivemindRole

STEP_TIMEOUT_S = 60.0
LOOPBACK = "/ip4/127.0.0.1/tcp/0"


def is_installed() -> bool:
    """Whether hivemind can be imported; it is not imported for that."""
    return importlib.util.find_spec("hivemind") is not None


def bucket_bits(ranks: int, group_size: int) -> int:
    """Binary digits of hivemind's first group key: enough for groups of at most `group_size`."""
    bits = 0
    while group_size << bits < ranks:
        bits += 1
    return bits


class HivemindRank:
    """One averager, with the DHT and the processes that it starts."""

    contacts: tuple[str, ...] = ()

    def __init__(self, role: HivemindRole) -> None:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, _end_all)  # hivemind's own processes would outlive this one
        hivemind: Any = importlib.import_module("hivemind")
        averaging: Any = importlib.import_module("hivemind.averaging")
        dht = hivemind.DHT(initial_peers=list(role.contacts), host_maddrs=[LOOPBACK], start=True)
        self.contacts = tuple(str(address) for address in dht.get_visible_maddrs())
        bits = bucket_bits(role.ranks, role.group_size)
        self._role = role
        self._own = own_vector(role.rank, role.ranks, role.floats)
        self._averager = averaging.DecentralizedAverager(
            [self._own.clone()],
            dht,
            prefix="bench",
            target_group_size=role.group_size,
            initial_group_bits=format(role.rank % (1 << bits), f"0{bits}b") if bits else "",
            start=True,
        )

    def arm(self) -> None:
        with self._averager.get_tensors() as tensors:
            tensors[0].copy_(self._own)

    def average(self, what: str) -> None:
        """`what` it is does not matter. Raises: RuntimeError when a round came to nothing."""
        for round in range(self._role.rounds):
            try:
                found = self._averager.step(timeout=STEP_TIMEOUT_S)
            except Exception as error:  # whatever goes wrong in it: there is no figure then
                raise RuntimeError(f"round {round + 1}: {error!r}") from error
            if found is None:
                raise RuntimeError(f"round {round + 1}: no group was found")

    def judge(self, what: str) -> None:
        """Its groups are not those of a grid: the result is not the mean."""


def _end_all(number: int, frame: object) -> None:
    os.killpg(0, signal.SIGKILL)  # this process and all that hivemind started for it, nobody else: see `setpgid`
