"""How many bytes the schemes send as the swarm grows, against their formulas, and what accuracy these bytes buy.

S is what is averaged: theta, or theta and momentum. MAR-FL (arXiv 2512.05234) publishes N = 16, 64 and 125.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from marfl_peer.protocol.grid import Grid
from reproduction.parts import NO_VALUE, Line, Panel, Plot, Section, Stroke, Table, megabytes, percent, scientific
from reproduction.results import Results, ScalingRun
from reproduction.runs import Run, scaling, swarm
from reproduction.sizes import Sizes

WANTED_ACCURACY = 0.9
MAX_DEVIATION = 0.02
"""Of what is measured from the formula."""
PUBLISHED_PEERS = 125
PUBLISHED_RATIO = 10.3
"""RDFL and AR-FL against MAR-FL, with 125 peers."""
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """`formula` of (peers, group size): what a peer sends in an iteration, on average, in S."""

    label: str
    flags: Mapping[str, object] = field(default_factory=dict)
    formula: Callable[[int, int], float]
    is_parted: bool = True
    """Whether vectors travel in parts."""


def _grid(peers: int, group_size: int) -> Sequence[int]:
    return Grid.for_peers(peers, group_size).shape


MODES = {
    "mar": Mode(
        label="MAR, butterfly (ours)",
        formula=lambda n, m: sum(2 * (length - 1) / length for length in _grid(n, m)),
    ),
    "mar-all-gather": Mode(
        label="MAR-FL as published",
        flags={"exchange": "all-gather"},
        formula=lambda n, m: float(sum(length - 1 for length in _grid(n, m))),
        is_parted=False,
    ),
    "rdfl": Mode(label="RDFL", flags={"aggregation": "rdfl"}, formula=lambda n, _: n - 1.0, is_parted=False),
    "ar": Mode(label="AR-FL", flags={"aggregation": "ar"}, formula=lambda n, _: n - 1.0, is_parted=False),
    "fedavg": Mode(label="FedAvg", flags={"aggregation": "fedavg"}, formula=lambda n, _: 2 * (n - 1) / n),
    "ring": Mode(label="ring all-reduce", flags={"aggregation": "ring"}, formula=lambda n, _: 2 * (n - 1) / n),
    "random": Mode(
        label="random groups",
        flags={"aggregation": "random"},
        formula=lambda n, m: len(_grid(n, m)) * 2 * (m - 1) / m,
    ),
    "gossip": Mode(label="gossip in pairs", flags={"aggregation": "gossip"}, formula=lambda n, _: n // 2 * 2 / n),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a peer sent in an iteration, on average. `size` is S in bytes."""

    mode: str
    peers: int
    group_size: int
    size: float
    tensor: float
    control: float
    dht: float

    @property
    def in_s(self) -> float:
        return self.tensor / self.size

    @property
    def formula(self) -> float:
        return MODES[self.mode].formula(self.peers, self.group_size)

    @property
    def deviation(self) -> float:
        return self.in_s / self.formula - 1


def runs(sizes: Sizes) -> list[Run]:
    found = []
    for name, mode in MODES.items():
        size = sizes.parted_bytes if mode.is_parted else sizes.whole_bytes
        bytes_alone = {"iterations": sizes.bench_iterations, "vector_bytes": size, **mode.flags}
        for group_size, peers in ((4, sizes.peers_of_four), (5, sizes.peers_of_five)):
            numbers = {"peers": ",".join(map(str, peers)), "group_size": group_size}
            found.append(scaling(f"scaling-groups-of-{group_size}-{name}", numbers, bytes_alone))
        settings = (sizes.trained, mode.flags, {"seed": 1})
        found.append(swarm(f"scaling-trained-{name}", *settings, counts_parameters=True))
    return found


def section(results: Results, sizes: Sizes) -> Section:
    counts = _counts(results)
    trained = _trained_counts(results, sizes)
    by_key = {(count.mode, count.peers): count for count in counts}
    return Section(
        answer=_answer(by_key, counts, sizes),
        tables=[_ratios(by_key, sizes), _bytes(counts), *_trained(results, trained)],
        plots=[_plot(counts, results)],
        notes=[
            "S is what a peer averages: of `bench scaling` the vector, of the trained swarms theta (`--vector theta`). "
            "All formulas are in S, FedAvg's too: that its clients need not send their momentum halves its bytes "
            "beside schemes that average it.",
            "Each message has a header: where S is small, and cut into many parts, as of the trained swarms, that is "
            "what is off by some per cent.",
            "FedAvg's bytes are the mean over all peers: N-1 clients send S each, the peer that serves sends (N-1) S.",
        ],
    )


def _counts(results: Results) -> list[Count]:
    found = []
    for mode in MODES:
        for group_size in (4, 5):
            result = results.get(f"scaling-groups-of-{group_size}-{mode}")
            if result is not None and result.scaling is not None:
                found += [_count(mode, run, result.scaling.vector_bytes) for run in result.scaling.runs]
    return sorted(found, key=lambda count: count.peers)


def _count(mode: str, run: ScalingRun, size: int) -> Count:
    sent = run.bytes_sent
    return Count(
        mode=mode,
        peers=run.peers,
        group_size=run.group_size,
        size=size,
        tensor=sent["tensor"],
        control=sent["control"],
        dht=sent["dht"],
    )


def _trained_counts(results: Results, sizes: Sizes) -> list[Count]:
    found = []
    for mode in MODES:
        result = results.get(f"scaling-trained-{mode}")
        if result is None or result.summary is None or result.parameters is None:
            continue
        sent = result.summary.bytes_sent_per_peer_per_iteration
        found.append(
            Count(
                mode=mode,
                peers=result.summary.peers,
                group_size=int(str(sizes.trained["group_size"])),
                size=FLOAT_BYTES * result.parameters,
                tensor=sent["tensor"],
                control=sent["control"],
                dht=sent["dht"],
            )
        )
    return found


def _answer(by_key: Mapping[tuple[str, int], Count], counts: Sequence[Count], sizes: Sizes) -> str:
    peers = max(sizes.peers_of_five)
    wanted = [by_key.get((mode, peers)) for mode in ("mar", "mar-all-gather", "rdfl", "ar")]
    if not all(wanted):
        return ""
    ours, published, rdfl, ar = [count.in_s for count in wanted if count is not None]
    worst = max(counts, key=lambda count: abs(count.deviation))
    known = f" (the paper's: {PUBLISHED_RATIO})" if peers == PUBLISHED_PEERS else ""
    most = f"{worst.deviation:+.1%}, {MODES[worst.mode].label} with {worst.peers} peers"
    held = "All bytes are" if abs(worst.deviation) <= MAX_DEVIATION else "Not all bytes are"
    return (
        f"With {peers} peers RDFL sends {rdfl / published:.1f} times and AR-FL {ar / published:.1f} times the bytes of "
        f"MAR-FL as published{known}; against our butterfly it is {rdfl / ours:.1f} and {ar / ours:.1f} times. "
        f"{held} within {MAX_DEVIATION:.0%} of the formulas: the farthest is {most}."
    )


def _ratios(by_key: Mapping[tuple[str, int], Count], sizes: Sizes) -> Table:
    rows = []
    for peers in (*sizes.peers_of_four, *sizes.peers_of_five):
        row = [str(peers)]
        for above in ("rdfl", "ar", "mar-all-gather"):
            for below in ("mar-all-gather", "mar"):
                if above == below:
                    continue
                pair = by_key.get((above, peers)), by_key.get((below, peers))
                row.append(NO_VALUE if pair[0] is None or pair[1] is None else f"{pair[0].in_s / pair[1].in_s:.2f}")
        rows.append(row)
    header = ["N", "RDFL / published", "RDFL / ours", "AR-FL / published", "AR-FL / ours", "published / ours"]
    return Table(lead="Tensor bytes, as ratios; published is MAR-FL with all-gather:", header=header, rows=rows)


def _bytes(counts: Sequence[Count]) -> Table:
    rows = [
        [
            str(count.peers),
            MODES[count.mode].label,
            f"{count.in_s:.3f}",
            f"{count.formula:.3f}",
            f"{count.deviation:+.2%}",
            f"{count.peers * count.in_s:,.0f}",
            f"{count.control / 1e3:.1f}",
            f"{count.dht / 1e3:.1f}",
            megabytes(count.size),
        ]
        for count in counts
    ]
    header = [
        "N",
        "scheme",
        "tensor, in S",
        "formula, in S",
        "off by",
        "all peers, in S",
        "control, kB",
        "DHT, kB",
        "S, MB",
    ]
    lead = (
        "Sent by a peer in an iteration, on average, without training. The first iteration, with its handshakes and "
        "look-ups, counts like the others:"
    )
    return Table(lead=lead, header=header, rows=rows)


def _trained(results: Results, counts: Sequence[Count]) -> list[Table]:
    rows = []
    for count in counts:
        summary = results[f"scaling-trained-{count.mode}"].summary
        assert summary is not None
        accuracies, reached = summary.accuracies(), summary.reached(WANTED_ACCURACY)
        rows.append(
            [
                MODES[count.mode].label,
                f"{count.in_s:.3f}",
                f"{count.formula:.3f}",
                f"{count.deviation:+.2%}",
                percent(accuracies[-1][1]) if accuracies else NO_VALUE,
                scientific(summary.iterations[-1].disagreement if summary.iterations else None),
                NO_VALUE if reached is None else str(reached[0]),
                megabytes(None if reached is None else reached[1]),
            ]
        )
    header = [
        "scheme",
        "tensor, in S",
        "formula",
        "off by",
        "accuracy at the end",
        "disagreement",
        f"iterations to {WANTED_ACCURACY:.0%}",
        "MB of all peers to it",
    ]
    if not counts:
        return []
    lead = f"Trained, {counts[0].peers} peers, S = {counts[0].size:,.0f} bytes of theta, accuracy on the full test set:"
    return [Table(lead=lead, header=header, rows=rows)]


def _plot(counts: Sequence[Count], results: Results) -> Plot:
    lines = []
    for colour, (mode, words) in enumerate(MODES.items()):
        own = [count for count in counts if count.mode == mode]
        if own:
            points = [(float(count.peers), count.in_s) for count in own]
            formula = [(float(count.peers), count.formula) for count in own]
            lines.append(Line(label=words.label, points=points, stroke=Stroke.POINTS, colour=colour))
            lines.append(Line(label="", points=formula, stroke=Stroke.FORMULA, colour=colour))
    curves = []
    for colour, (mode, words) in enumerate(MODES.items()):
        result = results.get(f"scaling-trained-{mode}")
        if result is not None and result.summary is not None:
            rows = zip(result.summary.iterations, result.summary.bytes_until(), strict=True)
            points = [(sent / 1e6, 100 * row.test_accuracy_mean) for row, sent in rows if row.test_accuracy_mean]
            curves.append(Line(label=words.label, points=points, colour=colour))
    return Plot(
        name="scaling",
        text="Bytes against the number of peers, and accuracy against bytes, for every scheme",
        panels=[
            Panel(
                title="Bytes of a peer in an iteration (dashes: formula)",
                x_label="peers N",
                y_label="tensor bytes, in S",
                lines=lines,
                log_x=True,
                log_y=True,
                x_ticks=sorted({count.peers for count in counts}),
            ),
            Panel(
                title="Accuracy against bytes, trained",
                x_label="MB sent by all peers, control and DHT too",
                y_label="test accuracy, %",
                lines=curves,
                log_x=True,
            ),
        ],
    )
