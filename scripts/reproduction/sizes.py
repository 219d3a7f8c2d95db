"""How large the experiments are: `SMALL` for two cores and half an hour, `FULL` for the paper's settings, `QUICK` to
see that all of it runs: what it measures says nothing.

A declaration each; what is measured with them is the experiments' business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

DIGITS = {"task": "digits", "group_size": 4, "batch_size": 32, "local_steps": 10, "lr": 0.1, "evaluate": "full"}
MNIST = {"task": "mnist", "evaluate": "full"}
NEWS = {"task": "20news", "evaluate": "full"}
"""20 Newsgroups; the learning rate fits hashed words, not the paper's encoder."""

DIFFERENT = {"partition": "dirichlet:1.0"}
"""Data that differ from peer to peer: who is absent matters then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Everything that differs between the sizes. `limit_s`: a run that takes longer is stopped and has failed."""

    name: str
    limit_s: float

    # scaling
    whole_bytes: int
    """S where whole vectors travel, to everybody or to all of a group."""
    parted_bytes: int
    """S where vectors travel in parts, of which a ring of 125 has as many: larger, so that headers do not count."""
    bench_iterations: int
    peers_of_four: tuple[int, ...]
    peers_of_five: tuple[int, ...]
    trained: dict[str, object]

    # parity
    parity: dict[str, object]
    parity_seeds: tuple[int, ...]
    model_peers: tuple[int, ...]
    model_iterations: int

    # dropout
    dropout: dict[str, object]
    dropout_needs_data: bool
    dropout_share: float
    dropout_seeds: tuple[int, ...]

    # 20news
    news: dict[str, object]
    news_seeds: tuple[int, ...]
    mkd_iterations: tuple[int, ...]
    mkd_codecs: tuple[str, ...]
    mkd_in_turns: tuple[int, ...]
    """K where mates' models are fetched one in turn, as int4."""
    news_rounds: int
    """G."""

    # privacy
    privacy: dict[str, object]
    privacy_needs_data: bool
    privacy_seeds: tuple[int, ...]
    noises: tuple[float, ...]

    # participation
    participation: dict[str, object]
    participation_needs_data: bool
    participation_seeds: tuple[int, ...]
    shares: tuple[tuple[float, float], ...]
    """Of the peers that update, and that aggregate."""


SHARES = ((1.0, 1.0), (0.5, 1.0), (0.25, 1.0), (1.0, 0.5), (1.0, 0.25))

SMALL = Sizes(
    name="small",
    limit_s=900.0,
    whole_bytes=480_000,
    parted_bytes=4_800_000,
    bench_iterations=2,
    peers_of_four=(16, 64),
    peers_of_five=(125,),
    trained={"peers": 16, **DIGITS, "vector": "theta", "iterations": 10},
    parity={
        "peers": 16,
        "group_size": 4,
        **MNIST,
        "batch_size": 100,
        "local_steps": 10,
        "iterations": 3,
        "evaluate_every": 3,
    },
    parity_seeds=(1, 2, 3),
    model_peers=(13, 16),
    model_iterations=3,
    dropout={"peers": 64, **DIGITS, **DIFFERENT, "batch_size": 16, "iterations": 6},
    dropout_needs_data=False,
    dropout_share=0.2,
    dropout_seeds=(1,),
    news={
        "peers": 16,
        "group_size": 4,
        **NEWS,
        "batch_size": 25,
        "local_steps": 10,
        "lr": 2.0,
        "iterations": 40,
        "target_accuracy": 0.5,
    },
    news_seeds=(1, 2, 3),
    mkd_iterations=(6,),
    mkd_codecs=("float32", "int8"),
    mkd_in_turns=(10,),
    news_rounds=2,
    privacy={"peers": 16, **DIGITS, "iterations": 30, "evaluate_every": 5},
    privacy_needs_data=False,
    privacy_seeds=(1, 2),
    noises=(0.0, 0.2, 0.5, 1.0),
    participation={"peers": 16, **DIGITS, **DIFFERENT, "iterations": 12},
    participation_needs_data=False,
    participation_seeds=(1, 2),
    shares=SHARES,
)

FULL = Sizes(
    name="full",
    limit_s=48 * 3600.0,
    whole_bytes=9_599_056,
    parted_bytes=9_599_056,
    bench_iterations=20,
    peers_of_four=(16, 64),
    peers_of_five=(125,),
    trained={"peers": 16, **DIGITS, "vector": "theta", "iterations": 30},
    parity={
        "peers": 16,
        "group_size": 4,
        **MNIST,
        "batch_size": 100,
        "local_steps": 10,
        "iterations": 500,
        "evaluate_every": 5,
        "target_accuracy": 0.95,
    },
    parity_seeds=(1, 2, 3),
    model_peers=(13, 16, 64),
    model_iterations=3,
    dropout={
        "peers": 64,
        "group_size": 4,
        **MNIST,
        **DIFFERENT,
        "batch_size": 62,
        "local_steps": 4,
        "iterations": 500,
        "evaluate_every": 5,
        "target_accuracy": 0.95,
    },
    dropout_needs_data=True,
    dropout_share=0.2,
    dropout_seeds=(1, 2, 3),
    news={
        "peers": 125,
        "group_size": 5,
        **NEWS,
        "batch_size": 16,
        "local_steps": 2,
        "lr": 2.0,
        "iterations": 1000,
        "evaluate_every": 5,
        "target_accuracy": 0.5,
    },
    news_seeds=(1, 2, 3),
    mkd_iterations=(6, 30),
    mkd_codecs=("float32", "int8"),
    mkd_in_turns=(10,),
    news_rounds=3,
    privacy={
        "peers": 125,
        "group_size": 5,
        **MNIST,
        "batch_size": 64,
        "local_steps": 2,
        "iterations": 500,
        "evaluate_every": 5,
    },
    privacy_needs_data=True,
    privacy_seeds=(1, 2, 3),
    noises=(0.0, 0.1, 0.2, 0.5, 1.0),
    participation={
        "peers": 125,
        "group_size": 5,
        **MNIST,
        **DIFFERENT,
        "batch_size": 64,
        "local_steps": 2,
        "iterations": 500,
        "evaluate_every": 5,
    },
    participation_needs_data=True,
    participation_seeds=(1, 2, 3),
    shares=SHARES,
)

QUICK = replace(
    SMALL,
    name="quick",
    limit_s=600.0,
    whole_bytes=80_000,
    parted_bytes=800_000,
    peers_of_four=(4, 16),
    peers_of_five=(5,),
    trained={**SMALL.trained, "iterations": 2},
    parity={**SMALL.parity, "iterations": 1, "evaluate_every": 1},
    parity_seeds=(1,),
    model_peers=(5,),
    model_iterations=1,
    dropout={**SMALL.dropout, "peers": 16, "iterations": 3},
    news={**SMALL.news, "iterations": 4},
    news_seeds=(1,),
    mkd_iterations=(2,),
    privacy={**SMALL.privacy, "iterations": 2, "evaluate_every": 1},
    privacy_seeds=(1,),
    noises=(0.0, 0.5),
    participation={**SMALL.participation, "iterations": 2},
    participation_seeds=(1,),
    shares=((1.0, 1.0), (0.5, 1.0), (0.5, 0.5)),
)

SIZES = {"small": SMALL, "full": FULL, "quick": QUICK}
