"""Whether MAR learns as well as FedAvg at equal iterations, and whether the exact schemes give the same model."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from reproduction.parts import NO_VALUE, Line, Panel, Plot, Section, Table, in_points, percent, scientific
from reproduction.results import Result, Results
from reproduction.runs import Run, swarm
from reproduction.sizes import DIGITS, Sizes

PARTITIONS = ("iid", "dirichlet:1.0")
SCHEMES = {"mar": "MAR", "fedavg": "FedAvg"}
EXACT = {"mar": "MAR", "fedavg": "FedAvg", "rdfl": "RDFL", "ar": "AR-FL", "ring": "ring all-reduce"}
MAX_DIFFERENCE = 0.003
"""Of accuracies, on average."""
MAX_ROUNDING = 1e-5
"""Of models, of the largest weight: float32 rounds to 6e-8, and some iterations of training pass that on."""


def runs(sizes: Sizes) -> list[Run]:
    learnt = [
        swarm(
            _name(partition, scheme, seed),
            sizes.parity,
            {"partition": partition, "aggregation": scheme, "seed": seed},
            needs_data=True,
        )
        for partition in PARTITIONS
        for seed in sizes.parity_seeds
        for scheme in SCHEMES
    ]
    whole = {"vector": "theta+momentum", "iterations": sizes.model_iterations, "seed": 1}
    models = [
        swarm(
            f"parity-model-{peers}-{scheme}", {"peers": peers}, DIGITS, whole, {"aggregation": scheme}, keeps_model=True
        )
        for peers in sizes.model_peers
        for scheme in EXACT
    ]
    return [*learnt, *models]


def section(results: Results, sizes: Sizes) -> Section:
    differences = {partition: _differences(results, sizes, partition) for partition in PARTITIONS}
    models = _models(results, sizes)
    return Section(
        answer=_answer(differences, models, sizes),
        tables=[_accuracies(results, sizes, differences), _distances(models)],
        plots=[_plot(results, sizes)],
        notes=[
            "Paired: both schemes of a seed start from the same model and draw the same mini-batches of the same data.",
            f"Models are compared after {sizes.model_iterations} iterations with theta and momentum averaged; 13 peers "
            "are no full grid, so that some play a second cell.",
        ],
    )


def _name(partition: str, scheme: str, seed: int) -> str:
    return f"parity-{partition.partition(':')[0]}-{scheme}-{seed}"


def _pair(results: Results, partition: str, seed: int) -> tuple[int, float, float] | None:
    """(iteration, accuracy of MAR, of FedAvg) of the last iteration that both tested."""
    found = [results.get(_name(partition, scheme, seed)) for scheme in SCHEMES]
    summaries = [result.summary for result in found if result is not None and result.summary is not None]
    if len(summaries) < len(SCHEMES):
        return None
    mar, fedavg = (dict(summary.accuracies()) for summary in summaries)
    common = mar.keys() & fedavg.keys()
    return (max(common), mar[max(common)], fedavg[max(common)]) if common else None


def _differences(results: Results, sizes: Sizes, partition: str) -> list[float]:
    pairs = (_pair(results, partition, seed) for seed in sizes.parity_seeds)
    return [mar - fedavg for _, mar, fedavg in (pair for pair in pairs if pair is not None)]


def _models(results: Results, sizes: Sizes) -> list[tuple[int, str, float, float]]:
    """(peers, scheme, largest difference from MAR's weights, largest of these weights)."""
    found = []
    for peers in sizes.model_peers:
        ours = _weights(results.get(f"parity-model-{peers}-mar"))
        if ours is None:
            continue
        for scheme in EXACT:
            theirs = _weights(results.get(f"parity-model-{peers}-{scheme}"))
            if scheme != "mar" and theirs is not None:
                distance = float(np.abs(theirs - ours).max())
                found.append((peers, scheme, distance, float(np.abs(ours).max())))
    return found


def _weights(result: Result | None) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    if result is None or result.model is None:
        return None
    return np.frombuffer(base64.b64decode(result.model), dtype="<f4").astype(np.float64)


def _answer(differences: dict[str, list[float]], models: Sequence[tuple[int, str, float, float]], sizes: Sizes) -> str:
    if any(len(found) < len(sizes.parity_seeds) for found in differences.values()):
        return ""
    means = {partition: fmean(found) for partition, found in differences.items()}
    told = " and ".join(f"{in_points(mean)} points ({partition})" for partition, mean in means.items())
    holds = all(abs(mean) <= MAX_DIFFERENCE for mean in means.values())
    answer = (
        f"{'Yes' if holds else 'No'}: MAR's accuracy less FedAvg's, mean of {len(sizes.parity_seeds)} paired seeds, is "
        f"{told}; up to {100 * MAX_DIFFERENCE:.1f} points count as equal."
    )
    if len(models) < len(sizes.model_peers) * (len(EXACT) - 1):
        return answer
    worst = max(distance / largest for _, _, distance, largest in models)
    equal = "give the same model to float rounding" if worst <= MAX_ROUNDING else "do not give the same model"
    return f"{answer} The exact schemes {equal}: weights differ by {scientific(worst)} of the largest weight at most."


def _accuracies(results: Results, sizes: Sizes, differences: dict[str, list[float]]) -> Table:
    rows = []
    for partition in PARTITIONS:
        for seed in sizes.parity_seeds:
            pair = _pair(results, partition, seed)
            if pair is None:
                rows.append([partition, str(seed), *[NO_VALUE] * 4])
            else:
                iteration, mar, fedavg = pair
                rows.append(
                    [partition, str(seed), str(iteration), percent(mar), percent(fedavg), in_points(mar - fedavg)]
                )
        if differences[partition]:
            rows.append([partition, "mean", "", "", "", f"**{in_points(fmean(differences[partition]))}**"])
    header = ["partition", "seed", "after iterations", "MAR", "FedAvg", "difference, points"]
    return Table(lead="Accuracy on the full test set:", header=header, rows=rows)


def _distances(models: Sequence[tuple[int, str, float, float]]) -> Table:
    rows = [
        [str(peers), EXACT[scheme], scientific(distance), f"{largest:.3f}", scientific(distance / largest)]
        for peers, scheme, distance, largest in models
    ]
    header = ["N", "scheme", "largest difference of a weight from MAR's", "largest weight", "ratio"]
    return Table(lead="The model of one peer under each exact scheme, against MAR's:", header=header, rows=rows)


def _plot(results: Results, sizes: Sizes) -> Plot:
    panels = []
    for partition in PARTITIONS:
        lines = []
        for colour, (scheme, label) in enumerate(SCHEMES.items()):
            for number, seed in enumerate(sizes.parity_seeds):
                result = results.get(_name(partition, scheme, seed))
                if result is not None and result.summary is not None:
                    points = [(t, 100 * accuracy) for t, accuracy in result.summary.accuracies()]
                    lines.append(Line(label=label if number == 0 else "", points=points, colour=colour))
        panels.append(
            Panel(title=partition, x_label="iteration", y_label="test accuracy, %", lines=lines if len(lines) else [])
        )
    # a curve of one point says nothing
    drawn = [panel for panel in panels if any(len(line.points) > 1 for line in panel.lines)]
    return Plot(name="parity", text="Accuracy of MAR and FedAvg against iterations", panels=drawn)
