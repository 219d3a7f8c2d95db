"""The experiments by name, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reproduction.experiments import dropout, news, parity, participation, privacy, scaling
from reproduction.parts import Section
from reproduction.results import Results
from reproduction.runs import Run
from reproduction.sizes import Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """`section` is made of the results that have figures, as many as there are."""

    title: str
    question: str
    runs: Callable[[Sizes], Sequence[Run]]
    section: Callable[[Results, Sizes], Section]


EXPERIMENTS = {
    "scaling": Experiment(
        title="Scaling",
        question="How many bytes does each scheme send with 16, 64 and 125 peers, and what accuracy do they buy?",
        runs=scaling.runs,
        section=scaling.section,
    ),
    "parity": Experiment(
        title="Parity with FedAvg",
        question="Is MAR as accurate as FedAvg at equal iterations, and is it the same computation?",
        runs=parity.runs,
        section=parity.section,
    ),
    "dropout": Experiment(
        title="Drop-out in aggregation",
        question="What does it cost that 20% of 64 peers are absent from each aggregation?",
        runs=dropout.runs,
        section=dropout.section,
    ),
    "20news": Experiment(
        title="20 Newsgroups with and without MKD",
        question="Does distillation save more than half of the bytes to 50% accuracy, as the paper claims?",
        runs=news.runs,
        section=news.section,
    ),
    "privacy": Experiment(
        title="Differential privacy",
        question="What accuracy is left at which epsilon?",
        runs=privacy.runs,
        section=privacy.section,
    ),
    "participation": Experiment(
        title="Participation",
        question="What is learnt when only a share of the peers updates, or aggregates, in an iteration?",
        runs=participation.runs,
        section=participation.section,
    ),
}
