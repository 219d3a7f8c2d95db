"""The results of the benches as a person reads them: tables, and lines below them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.filesize import decimal
from rich.table import Table

from marfl_peer.lab.bench.results import Aggregation, Codecs, Exchange, Scaling
from marfl_peer.lab.figures import UNKNOWN, sizes
from marfl_peer.lab.links import written

WAYS = {"unix": "by Unix sockets", "tcp": "by TCP"}


def exchange_lines(result: Exchange) -> Iterator[Table | str]:
    """Ours beside gloo's."""
    table = _compared(f"{result.members} members, {decimal(result.bytes)} each, {result.codec}, {WAYS[result.way]}")
    table.add_row("peers", milliseconds(result.seconds_median), spread(result.seconds_quartiles), "")
    table.add_row(
        "gloo all-reduce",
        milliseconds(result.gloo_seconds_median),
        spread(result.gloo_seconds_quartiles),
        times(result.ratio_to_gloo),
    )
    yield table
    if result.link_bits_per_second is not None:
        yield f"links: {_rates(result.link_bits_per_second)}; {result.spans} chunks"
        yield f"tensor bytes sent by each: {', '.join(decimal(round(sent)) for sent in result.tensor_bytes_sent)}"
        uplinks = (f"{rate / 1e6:.0f}" if rate else UNKNOWN for rate in result.measured_bits_per_second)
        yield f"measured uplinks, Mbit/s: {', '.join(uplinks)}"
    yield from _remarks(result)


def aggregation_lines(result: Aggregation) -> Iterator[Table | str]:
    """Ours beside all others."""
    shape = "×".join(map(str, result.grid))
    title = f"{result.members} peers, {shape} grid, {decimal(result.bytes)} each, {result.codec}, {WAYS[result.way]}"
    table = _compared(title)
    table.add_row("peers, all rounds", milliseconds(result.seconds_median), spread(result.seconds_quartiles), "")
    table.add_row(
        "gloo in the same groups",
        milliseconds(result.gloo_seconds_median),
        spread(result.gloo_seconds_quartiles),
        times(result.ratio_to_gloo),
    )
    table.add_row(
        "gloo, one all-reduce of all",
        milliseconds(result.gloo_flat_seconds_median),
        spread(result.gloo_flat_seconds_quartiles),
        times(result.ratio_to_gloo_flat),
    )
    if result.hivemind_seconds_median is None or result.ratio_to_hivemind is None:
        why = "no round came to an end" if result.hivemind_failures else "not installed"
        table.add_row("hivemind", UNKNOWN, why, UNKNOWN)
    else:
        note = f"{result.hivemind_repeats} repeats, {result.hivemind_failures} failed"
        table.add_row("hivemind", milliseconds(result.hivemind_seconds_median), note, times(result.ratio_to_hivemind))
    yield table
    yield from _remarks(result)


def scaling_lines(result: Scaling) -> Iterator[Table | str]:
    """What was measured, then the formulas, a row for every number of peers."""
    title = f"{decimal(result.vector_bytes)} of theta and momentum, {result.codec}: sent by a peer in an iteration"
    measured = _table(title, "peers", "scheme", "grid", "all bytes", "tensor", "by formula", "control", "DHT")
    took = _table("in one iteration and before the first", "peers", "iteration", "start-up", "PSS a peer", "PSS in all")
    schemes = _table(
        "the same by the formulas", "peers", "MAR-FL", "RDFL, AR-FL", "FedAvg", "butterfly", "ring", "gossip", "random"
    )
    for run in result.runs:
        sent, of = run.bytes_sent, run.formulas
        measured.add_row(
            f"{run.peers}{' simulated' if run.is_simulated else ''}",
            run.aggregation,
            "×".join(map(str, run.grid)),
            decimal(round(run.bytes_sent_per_peer_per_iteration)),
            decimal(round(sent["tensor"])),
            decimal(round(run.scheme_bytes_per_peer_per_iteration)),
            *(decimal(round(sent[kind])) for kind in ("control", "dht")),
        )
        if run.seconds_per_iteration is not None and run.startup_seconds is not None:
            took.add_row(
                str(run.peers),
                milliseconds(run.seconds_per_iteration),
                f"{run.startup_seconds:.1f} s",
                mebibytes(run.pss_mib_max),
                mebibytes(run.pss_mib_total),
            )
        schemes.add_row(
            str(run.peers),
            *(
                decimal(round(scheme))
                for scheme in (of.mar_fl, of.rdfl, of.fedavg, of.butterfly, of.ring, of.gossip, of.random)
            ),
        )
    yield measured
    yield schemes
    yield took
    if result.fit is not None:
        a_round = decimal(round(result.fit.bytes_a_peer_and_round))
        off = 100 * result.fit.largest_deviation
        yield f"fit to N log_{result.runs[0].group_size} N: {a_round} a peer and round, {off:.1f} % off at most"
    if result.log_fit is not None:
        fixed, a_round = (decimal(round(part)) for part in (result.log_fit.bytes_fixed, result.log_fit.bytes_a_round))
        group_size, share = result.runs[0].group_size, result.log_fit.r_squared
        yield f"fit of a peer's to log_{group_size} N: {fixed} and {a_round} a round, R² {share:.4f}"
    if partial := sum(run.groups_partial for run in result.runs):
        yield _disturbed(partial)


def codecs_lines(result: Codecs) -> Iterator[Table | str]:
    """A row for every codec, and a plain copy below."""
    title = f"{decimal(result.bytes)} of float32 in and out, one thread, median of {result.repeats}"
    again = f"mean of {result.feedback_repeats}"
    table = _table(title, "codec", "bytes a value", "encode MB/s", "decode MB/s", "RMS error", "largest", again)
    for codec in result.codecs:
        table.add_row(
            codec.codec,
            f"{codec.bytes_per_value:.3f}",
            *(megabytes(speed) for speed in (codec.encode_mb_per_second, codec.decode_mb_per_second)),
            *(f"{error:.1e}" for error in (codec.error_rms, codec.error_max, codec.error_rms_with_feedback)),
        )
    table.add_row("(copy)", "4.000", *[megabytes(result.copy_mb_per_second)] * 2, *[UNKNOWN] * 3)
    yield table
    if result.kernels == "numpy":
        yield "int8, int4 and bfloat16 by numpy: this installation was built without a C compiler"
    yield f"errors of one encoding, and of the mean of {result.feedback_repeats} with error feedback"


def mebibytes(size: float | None) -> str:
    return UNKNOWN if size is None else f"{size:.0f} MiB"


def megabytes(speed: float) -> str:
    return f"{speed:.0f}"


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def spread(quartiles: tuple[float, float]) -> str:
    """The middle half."""
    return f"{1000 * quartiles[0]:.1f} to {1000 * quartiles[1]:.1f}"


def times(ratio: float) -> str:
    """How long ours took, in terms of the other's time."""
    return f"{ratio:.2f}"


def _compared(title: str) -> Table:
    return _table(title, "", "median", "middle half", "peers' time / this")


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.ROUNDED)
    table.add_column(first)
    for column in others:
        table.add_column(column, justify="right")
    return table


def _remarks(result: Exchange | Aggregation) -> Iterator[str]:
    yield f"{result.repeats} repeats; whole call of Peer.aggregate: {milliseconds(result.call_seconds_median)}"
    ours, gloo = milliseconds(result.cpu_seconds_median), milliseconds(result.gloo_cpu_seconds_median)
    yield f"processor time of all together: peers {ours}, gloo {gloo}"
    yield f"sent by a peer in one: {sizes(result.bytes_sent_per_member)}"
    longest = result.callbacks[0]
    yield f"longest callback: {milliseconds(longest.cpu_seconds_max)} of processor time, {longest.name}"
    if result.groups_partial:
        yield _disturbed(result.groups_partial)


def _rates(links: Sequence[int]) -> str:
    """Such as 3 x 1gbit and 1 x 100mbit."""
    counts = {rate: links.count(rate) for rate in sorted(links, reverse=True)}
    return " and ".join(f"{count} × {written(rate)}" for rate, count in counts.items())


def _disturbed(partial: int) -> str:
    return f"{partial} times a group was not complete: measure again on a machine that is less busy"
