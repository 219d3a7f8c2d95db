"""`marfl-peer bench`, from its numbers to what it prints."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from marfl_peer.config import Settings
from marfl_peer.lab.bench.aggregation import measure_aggregation
from marfl_peer.lab.bench.codecs import measure_codecs
from marfl_peer.lab.bench.exchange import measure_exchange
from marfl_peer.lab.bench.progress import BenchProgress
from marfl_peer.lab.bench.results import Result, to_json
from marfl_peer.lab.bench.scaling import measure_scaling
from marfl_peer.lab.bench.tables import aggregation_lines, codecs_lines, exchange_lines, scaling_lines
from marfl_peer.lab.links import Rates


def exchange(
    settings: Settings, *, members: int, vector_bytes: int, repeats: int, rates: Rates | None, as_json: bool
) -> None:
    """Raises: MarflError, also in a group."""
    with BenchProgress() as progress:
        result = asyncio.run(
            measure_exchange(
                settings, members=members, vector_bytes=vector_bytes, repeats=repeats, rates=rates, note=progress.note
            )
        )
    _print(result, exchange_lines(result), as_json=as_json)


def aggregation(settings: Settings, *, peers: int, vector_bytes: int, repeats: int, as_json: bool) -> None:
    """Raises: MarflError, also in a group."""
    with BenchProgress() as progress:
        result = asyncio.run(
            measure_aggregation(settings, peers=peers, vector_bytes=vector_bytes, repeats=repeats, note=progress.note)
        )
    _print(result, aggregation_lines(result), as_json=as_json)


def scaling(
    settings: Settings, *, peers: Sequence[int], simulated: Sequence[int], vector_bytes: int, as_json: bool
) -> None:
    """`settings.iterations` of each. Raises: MarflError, also in a group."""
    with BenchProgress() as progress:
        result = asyncio.run(
            measure_scaling(
                settings,
                peers=peers,
                simulated=simulated,
                vector_bytes=vector_bytes,
                iterations=settings.iterations,
                note=progress.note,
            )
        )
    _print(result, scaling_lines(result), as_json=as_json)


def codecs(names: Sequence[str], *, vector_bytes: int, repeats: int, as_json: bool) -> None:
    """In this process."""
    with BenchProgress() as progress:
        result = measure_codecs(names, vector_bytes=vector_bytes, repeats=repeats, note=progress.note)
    _print(result, codecs_lines(result), as_json=as_json)


def _print(result: Result, lines: Iterator[Table | str], *, as_json: bool) -> None:
    if as_json:
        print(to_json(result))
        return
    console = Console()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=isinstance(line, str))
