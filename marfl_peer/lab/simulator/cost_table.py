"""The table of what failures cost, as Markdown: one row a case, from its trials on several seeds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from marfl_peer.lab.simulator.cost_trials import Trial
from marfl_peer.lab.simulator.costs import Cost

HEAD = (
    "failure",
    "iterations missed: victims / others",
    "accuracy, points: mean (worst)",
    "test loss",
    "seconds",
    "longest wait, of D_g",
    "kB a peer: tensor / state / control / DHT",
    "weight lost",
    "disagreement",
)
NOTHING = "0"
UNKNOWN = "–"
_KINDS = ("tensor", "state", "control", "dht")


def markdown(trials: Iterable[Trial]) -> str:
    """The table, and a line on the same runs in peace. Means over the seeds; of accuracy the worst, of waits and
    disagreement the largest besides."""
    cases: dict[str, list[Trial]] = {}
    for trial in trials:
        cases.setdefault(trial.case, []).append(trial)
    lines = [HEAD, tuple("---" for _ in HEAD), *(_row(name, among) for name, among in cases.items())]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{table}\n\n{_in_peace([trial for among in cases.values() for trial in among])}\n"


def _row(name: str, trials: Sequence[Trial]) -> tuple[str, ...]:
    costs = [trial.cost for trial in trials]
    longest = max((one.longest_wait for one in costs), key=lambda wait: wait.seconds)
    missed = (fmean(one.missed_by_victims for one in costs), fmean(one.missed_by_others for one in costs))
    strikes = fmean(trial.strikes for trial in trials)
    return (
        f"{name} ({strikes:.0f} strikes)" if strikes > fmean(len(trial.victims) for trial in trials) else name,
        " / ".join(f"{count:.3g}" for count in missed),
        _accuracy(costs),
        _mean(costs, lambda one: one.loss_ratio, lambda ratio: f"x {ratio:.3f}"),
        _mean(costs, lambda one: one.seconds, lambda extra: _signed(extra, 1)),
        f"{longest.seconds:.1f} s, {longest.share:.0%}",
        " / ".join(_signed(fmean(one.bytes_sent[kind] for one in costs) / 1e3, 0) for kind in _KINDS),
        _signed(fmean(one.weight_lost for one in costs), 2).removeprefix("+"),
        _scientific(max(one.disagreement for one in costs)),
    )


def _accuracy(costs: Sequence[Cost]) -> str:
    known = [100 * one.accuracy for one in costs if one.accuracy is not None]
    return f"{_signed(fmean(known), 1)} ({_signed(min(known), 1)})" if len(known) == len(costs) else UNKNOWN


def _mean(costs: Sequence[Cost], value: Callable[[Cost], float | None], written: Callable[[float], str]) -> str:
    """Only where every run has the figure."""
    known = [figure for one in costs if (figure := value(one)) is not None]
    return written(fmean(known)) if len(known) == len(costs) else UNKNOWN


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return NOTHING if float(text) == 0 else text


def _scientific(value: float) -> str:
    return NOTHING if value == 0 else f"{value:.0e}"


def _in_peace(trials: Sequence[Trial]) -> str:
    """What the differences are from."""
    runs = [trial.peace for trial in trials]
    accuracies = [100 * run.accuracy for run in runs if run.accuracy is not None]
    losses = [run.loss for run in runs if run.loss is not None]
    waits = [run.longest_wait.seconds for run in runs]
    seeds = len({trial.seed for trial in trials})
    broken = sum(len(trial.broken) for trial in trials)
    return (
        f"{seeds} seeds a row. In peace: accuracy {_range(accuracies, '.1f')}%, test loss {_range(losses, '.3f')}, "
        f"longest wait {_range(waits, '.2f')} s. Invariants broken in {len(trials)} runs: {broken or 'none'}."
    )


def _range(values: Sequence[float], form: str) -> str:
    if not values:
        return UNKNOWN
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"
