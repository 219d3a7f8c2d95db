"""scripts/reproduce: runs the experiments of the paper and makes docs/results.md of what they left.

scripts/reproduce --data-dir DIR            all, in small: half an hour on two cores that do nothing else
scripts/reproduce --only scaling privacy    some of them, or of their runs; the page has what there is of the others
scripts/reproduce --size full               with the paper's settings: days, on a machine with memory for 125 peers
scripts/reproduce --size quick --page FILE  in minutes, to see that all of it runs: what it measures says nothing
scripts/reproduce --list                    names and commands, without running anything
scripts/reproduce --page-only               the page and its plots again, from the results that are there
DIR holds the data of MNIST and 20 Newsgroups (`marfl-peer data fetch` gets it); MARFL_DATA_DIR names it as well.
A run whose results are there, of the same command, is not made again: after Ctrl+C the same command goes on; --again
makes them anew. Exits with 0 if all runs have results, 1 if some failed, 2 for a wrong command, 130 after Ctrl+C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from rich.console import Console

from reproduction import page, progress, results
from reproduction.page import Chapter
from reproduction.registry import EXPERIMENTS
from reproduction.runner import ROOT, Runner, clean, versions
from reproduction.runs import Run
from reproduction.sizes import QUICK, SIZES, Sizes

INTERRUPTED = 130
PROGRAM = (sys.executable, "-m", "marfl_peer")


def main(
    arguments: Sequence[str] | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    program: Sequence[str] = PROGRAM,
    console: Console | None = None,
) -> int:
    """`program` is what is run in place of marfl-peer."""
    parser, console = _parser(), console or Console()
    options = parser.parse_args(arguments)
    sizes: Sizes = SIZES[options.size]
    runs = wanted(sizes, options.only)
    for word in options.only:
        if not wanted(sizes, [word]):
            parser.error(
                f"--only {word}: choose some of {', '.join(EXPERIMENTS)}, or patterns of names that --list has"
            )
    if options.list:
        for run in runs:
            console.print(f"{run.name:32} {run.command}", markup=False, highlight=False, soft_wrap=True)
        return 0
    try:
        from reproduction.drawing import draw
    except ImportError:
        parser.error("matplotlib is not installed: pip install -e '.[bench]'")
    if sizes.name == QUICK.name and options.page is None:
        parser.error("--size quick: needs --page, so that it does not replace what was measured")
    path: Path = options.page or ROOT / "docs" / "results.md"
    folder = options.results or path.parent / "results" / sizes.name
    failed: list[results.Result] = []
    if not options.page_only:
        data_dir = _data_dir(options.data_dir, environment)
        if data_dir is None and any(_is_due(run, folder, again=options.again) for run in runs if run.needs_data):
            parser.error("--data-dir: MNIST and 20 Newsgroups are needed: name their folder, or set MARFL_DATA_DIR")
        runner = Runner(
            program=program,
            environment=clean(environment),
            folder=folder,
            data_dir=data_dir,
            limit_s=sizes.limit_s,
            versions=versions(),
        )
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with progress.choose(console, len(runs), plain=options.plain) as shown:
                failed = runner.make_all(runs, shown, again=options.again)
        except KeyboardInterrupt:
            console.print("interrupted: what was finished is kept, the same command goes on from there")
            return INTERRUPTED
        finally:
            signal.signal(signal.SIGTERM, before)
    chapters = page.chapters(results.read_all(wanted(sizes, []), folder), sizes)
    images = path.parent / "images"
    for chapter in chapters:
        for plot in chapter.section.plots:
            if not plot.is_empty:
                draw(plot, images / f"results-{plot.name}.svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = page.page(chapters, sizes, images="images", results=_linked(folder, path))
    path.write_text(text, encoding="utf-8")
    _tell(console, chapters, failed, path)
    return 1 if failed else 0


def wanted(sizes: Sizes, only: Sequence[str]) -> list[Run]:
    """The runs that any of `only` names, by their experiment or by a pattern; without it all."""
    return [
        run
        for name, one in EXPERIMENTS.items()
        for run in one.runs(sizes)
        if not only or any(word == name or fnmatch(run.name, word) for word in only)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = f"{', '.join(EXPERIMENTS)}, or patterns of runs, such as 'parity-iid-*'"
    parser.add_argument("--only", nargs="+", action="extend", default=[], metavar="NAME", help=names)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--again", action="store_true", help="run what has results already, too")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="default: MARFL_DATA_DIR")
    parser.add_argument("--list", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--page-only", action="store_true", help="run nothing, make the page of what there is")
    parser.add_argument("--plain", action="store_true", help="lines in place of a bar")
    parser.add_argument("--results", type=Path, metavar="DIR", help="default: results/SIZE beside the page")
    parser.add_argument("--page", type=Path, metavar="FILE", help="default: docs/results.md")
    return parser


def _data_dir(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    named = given or (Path(environment["MARFL_DATA_DIR"]) if environment.get("MARFL_DATA_DIR") else None)
    return None if named is None else named.resolve()


def _is_due(run: Run, folder: Path, *, again: bool) -> bool:
    before = results.read(run, folder)
    return again or before is None or bool(before.failure)


def _linked(folder: Path, page_path: Path) -> str:
    """As a reader of the page would look for it."""
    return os.path.relpath(folder.resolve(), page_path.resolve().parent)


def _tell(console: Console, chapters: Sequence[Chapter], failed: Sequence[results.Result], path: Path) -> None:
    for chapter in chapters:
        text = f"{chapter.title}: {page.answer(chapter)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for result in failed:
        console.print(
            f"{result.name} failed: {result.failure}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)
