from __future__ import annotations

import io
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.table import Table

from marfl_peer.lab.bench.formulas import LogFit
from marfl_peer.lab.bench.results import Aggregation, Codecs, Exchange, Scaling
from marfl_peer.lab.bench.tables import aggregation_lines, codecs_lines, exchange_lines, scaling_lines
from marfl_peer.lab.figures import UNKNOWN


def drawn(lines: Iterable[Table | str]) -> str:
    console = Console(file=io.StringIO(), width=100)
    for line in lines:
        console.print(line)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_exchange_shows_medians_and_the_ratio(exchange_result: Exchange) -> None:
    text = drawn(exchange_lines(exchange_result))
    assert all(
        part in text
        for part in ("4 members, 9.6 MB each, float32, by Unix sockets", "30.0 ms", "40.0 ms", "0.75", "50 repeats")
    )
    assert "peers 55.0 ms, gloo 35.0 ms" in text
    assert "longest callback: 4.2 ms of processor time, Connection in read" in text
    assert "not complete" not in text


def test_links_of_a_rate_are_named(exchange_result: Exchange) -> None:
    shaped = msgspec.structs.replace(
        exchange_result,
        link_bits_per_second=[10**9, 10**9, 10**9, 10**8],
        tensor_bytes_sent=[16e6, 16e6, 16e6, 9.6e6],
        measured_bits_per_second=[9e8, 9.1e8, 0.0, 97e6],
    )
    text = drawn(exchange_lines(shaped))
    assert "links: 3 × 1gbit and 1 × 100mbit; measured chunks" in text
    assert "tensor bytes sent by each: 16.0 MB, 16.0 MB, 16.0 MB, 9.6 MB" in text
    assert f"measured uplinks, Mbit/s: 900, 910, {UNKNOWN}, 97" in text
    assert "uplinks" not in drawn(exchange_lines(exchange_result))


def test_disturbed_run_says_so(exchange_result: Exchange) -> None:
    text = drawn(exchange_lines(msgspec.structs.replace(exchange_result, groups_partial=3)))
    assert "3 times a group was not complete" in text


def test_aggregation_shows_all_sides(aggregation_result: Aggregation) -> None:
    text = drawn(aggregation_lines(aggregation_result))
    assert all(part in text for part in ("4×4 grid", "1.00", "2.00", "8000.0 ms", "2 repeats, 1 failed"))


def test_aggregation_without_hivemind_says_why(aggregation_result: Aggregation) -> None:
    without = msgspec.structs.replace(aggregation_result, hivemind_seconds_median=None, ratio_to_hivemind=None)
    assert "no round came to an end" in drawn(aggregation_lines(without))
    assert "not installed" in drawn(aggregation_lines(msgspec.structs.replace(without, hivemind_failures=0)))


def test_scaling_shows_formulas_and_fit(scaling_result: Scaling) -> None:
    text = drawn(scaling_lines(scaling_result))
    assert all(part in text for part in ("4×4×4", "42.0 MB", "MAR-FL", "86.4 MB", "fit to N log_4 N: 14.0 MB"))
    assert all(part in text for part in ("200.0 ms", "3.0 s", "40 MiB", "160 MiB"))
    one = msgspec.structs.replace(scaling_result, runs=scaling_result.runs[:1], fit=None)
    assert "fit" not in drawn(scaling_lines(one))
    partial = [msgspec.structs.replace(run, groups_partial=1) for run in scaling_result.runs]
    assert "2 times" in drawn(scaling_lines(msgspec.structs.replace(scaling_result, runs=partial)))


def test_codecs_show_speed_and_error_beside_a_copy(codecs_result: Codecs) -> None:
    text = drawn(codecs_lines(codecs_result))
    assert all(
        part in text for part in ("9.6 MB", "int8", "1.016", "1200", "8400", "9.0e-03", "2.0e-04", "(copy)", "13000")
    )


def test_simulated_runs_are_marked_and_have_no_times(scaling_result: Scaling) -> None:
    measured = scaling_result.runs[0]
    nothing = dict.fromkeys(("seconds_per_iteration", "seconds_first_iteration", "startup_seconds", "pss_mib_max"))
    simulated = msgspec.structs.replace(scaling_result.runs[1], is_simulated=True, pss_mib_total=None, **nothing)
    line = LogFit(bytes_a_round=1e6, bytes_fixed=2e3, r_squared=0.9987)
    runs = [msgspec.structs.replace(measured, pss_mib_max=None), simulated]
    text = drawn(scaling_lines(msgspec.structs.replace(scaling_result, runs=runs, log_fit=line)))
    assert "64 simulated" in text
    assert text.count("200.0 ms") == 1
    assert "fit of a peer's to log_4 N: 2.0 kB and 1.0 MB a round, R² 0.9987" in text
