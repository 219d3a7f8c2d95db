"""What a forked child of `bench` is: whatever role it is told, until the bench ends it.

`prepare` is the nursery's entry. Knows which module plays which role, and nothing of what is measured.
"""

from __future__ import annotations

import functools
import sys

import torch

from marfl_peer.errors import LocalProtocolError, MarflError
from marfl_peer.lab.bench.gloo_rank import GlooRank
from marfl_peer.lab.bench.hivemind_rank import HivemindRank
from marfl_peer.lab.bench.namespace import enter_namespace
from marfl_peer.lab.bench.peer_rank import be_peer
from marfl_peer.lab.bench.serving import Line, serve
from marfl_peer.lab.bench.task import FlatModel
from marfl_peer.lab.bench.words import GlooRole, HivemindRole, PeerRole
from marfl_peer.lab.jobs import ChildMain, Job, Start
from marfl_peer.learning.optimizer import MomentumSGD


def prepare(job: Job) -> ChildMain:
    """`facts_path` of the job is the socket at which the bench listens."""
    torch.set_num_threads(1)  # a pool of threads would not survive the fork
    # The first optimizer makes torch import 800 more modules: here once, not in every child.
    MomentumSGD(FlatModel(1).parameters(), lr=0.1, momentum=0.9)
    return functools.partial(run, path=job.facts_path)


def run(start: Start, *, path: str) -> int:
    """One child's life. Returns its exit code."""
    torch.set_num_threads(1)
    try:
        with Line(path, start.index) as line:
            match line.hear():
                case PeerRole() as role:
                    enter_namespace(role.namespace)
                    be_peer(role, start.settings, line)
                case GlooRole() as role:
                    enter_namespace(role.namespace)
                    serve(line, GlooRank(role))
                case HivemindRole() as role:
                    serve(line, HivemindRank(role))
                case None:
                    pass
                case order:
                    raise LocalProtocolError(f"{type(order).__name__} before a role")
    except MarflError as error:
        print(f"{error}", file=sys.stderr)
        return error.exit_code
    return 0
