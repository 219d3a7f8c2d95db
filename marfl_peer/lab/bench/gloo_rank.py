"""What peers are measured against: torch.distributed's all-reduce over gloo, among processes on one machine.

It adds up; dividing by the number of ranks, which an average needs, is left out, in gloo's favour.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta

import torch.distributed as dist

from marfl_peer.lab.bench.judging import Judgement, judge_exact
from marfl_peer.lab.bench.vectors import own_vector
from marfl_peer.lab.bench.words import GlooRole

FLAT = "flat"
GROUPS = "groups"
TIMEOUT = timedelta(seconds=300)


class GlooRank:
    """Averages "flat", all ranks in one all-reduce, or in "groups", one after the other for every round."""

    contacts: tuple[str, ...] = ()

    def __init__(self, role: GlooRole) -> None:
        """Waits for all ranks."""
        os.environ["GLOO_SOCKET_IFNAME"] = role.interface or _loopback()
        dist.init_process_group(
            "gloo", init_method=f"file://{role.store}", rank=role.rank, world_size=role.ranks, timeout=TIMEOUT
        )
        self._role = role
        self._groups: list[dist.ProcessGroup] = []
        for lines in role.lines:
            for ranks in lines:
                group = dist.new_group(list(ranks), timeout=TIMEOUT)  # everybody must make all of them, in one order
                if role.rank in ranks:
                    self._groups.append(group)
        self._own = own_vector(role.rank, role.ranks, role.floats)
        self._vector = self._own.clone()

    def arm(self) -> None:
        self._vector.copy_(self._own)

    def average(self, what: str) -> None:
        if what == FLAT:
            dist.all_reduce(self._vector)
            return
        for group in self._groups:
            dist.all_reduce(self._vector, group=group)

    def judge(self, what: str) -> Judgement | None:
        role = self._role
        if what != FLAT and not role.is_exact:
            return None
        return judge_exact(self._vector.div(role.ranks), [1] * role.ranks)


def _loopback() -> str:
    """The name of the loopback interface: gloo would look for one by the host's name."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
