"""Runs every bench whose figures docs/benchmarks.md quotes, one after the other, and keeps what each prints.

python scripts/make_benchmarks.py                       all of them: half an hour; nothing else should run meanwhile
python scripts/make_benchmarks.py --only 'exchange-*'   those whose name fits
python scripts/make_benchmarks.py --list                names and commands
python scripts/make_benchmarks.py --quick --folder F    the same in small, to see that all of it runs: minutes
Writes docs/bench/NAME.json; a run that fails leaves what was there. Those over links of a rate need root, and are left
out without it. Exits with 0 only if none failed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "bench"
SMALL = "theta=int8,momentum=int4"
CODECS = ("float32", "bfloat16", "int8", SMALL)


@dataclass(frozen=True, slots=True)
class Sizes:
    """`vector_bytes` is what a peer averages, theta and momentum. Peers are in groups of four or five."""

    vector_bytes: int
    simulated_bytes: int
    repeats: int
    link_repeats: int
    slow_repeats: int
    iterations: int
    aggregating: int
    of_four: str
    of_five: str
    simulated_of_four: str
    simulated_of_five: str


FULL = Sizes(
    vector_bytes=9_600_000,  # of the paper's CNN, rounded as the published figures are
    simulated_bytes=96_000,
    repeats=50,
    link_repeats=30,
    slow_repeats=5,
    iterations=20,
    aggregating=16,
    of_four="4,16,64",
    of_five="5,25,125",
    simulated_of_four="256",
    simulated_of_five="625",
)
QUICK = Sizes(
    vector_bytes=80_000,
    simulated_bytes=8_000,
    repeats=2,
    link_repeats=2,
    slow_repeats=1,
    iterations=2,
    aggregating=4,
    of_four="4,8",
    of_five="5,10",
    simulated_of_four="16",
    simulated_of_five="25",
)


@dataclass(frozen=True, slots=True)
class Run:
    """`marfl-peer bench ARGUMENTS --json`, kept as NAME.json."""

    name: str
    arguments: tuple[str, ...]

    @property
    def needs_root(self) -> bool:
        return "--link-rate" in self.arguments

    @property
    def command(self) -> str:
        return shlex.join(("marfl-peer", "bench", *self.arguments, "--json"))


def runs(sizes: Sizes = FULL) -> Iterator[Run]:
    """In the order in which they are made."""
    yield Run("codecs", ("codecs", "--bytes", str(sizes.vector_bytes)))
    exchange = ("exchange", "--members", "4", "--bytes", str(sizes.vector_bytes), "--repeats")
    for codec in CODECS:
        yield Run(f"exchange-{named(codec)}", (*exchange, str(sizes.repeats), "--codec", codec))
    for codec in CODECS:
        link = (str(sizes.link_repeats), "--link-rate", "1gbit", "--codec", codec)
        yield Run(f"exchange-1gbit-{named(codec)}", (*exchange, *link))
    link = (str(sizes.slow_repeats), "--link-rate", "200mbit")
    yield Run("exchange-200mbit", (*exchange, *link))
    for spans in ("equal", "measured"):
        slow = ("--slow-members", "1", "--slow-rate", "20mbit", "--spans", spans)
        yield Run(f"exchange-200mbit-one-slow-{spans}", (*exchange, *link, *slow))
    peers = ("--peers", str(sizes.aggregating), "--group-size", "4")
    for codec in ("float32", SMALL):
        aggregation = ("aggregation", *peers, "--bytes", str(sizes.vector_bytes), "--codec", codec)
        yield Run(f"aggregation-{named(codec)}", (*aggregation, "--repeats", str(min(20, sizes.repeats))))
    scaling = ("scaling", "--iterations", str(sizes.iterations), "--vector-bytes")
    for codec in ("float32", SMALL):
        four = ("--peers", sizes.of_four, "--group-size", "4", "--codec", codec)
        five = ("--peers", sizes.of_five, "--group-size", "5", "--codec", codec)
        yield Run(f"scaling-4-{named(codec)}", (*scaling, str(sizes.vector_bytes), *four))
        yield Run(f"scaling-5-{named(codec)}", (*scaling, str(sizes.vector_bytes), *five))
    # at least one run has to be of processes: the smallest
    simulated = ("scaling", "--iterations", "2", "--vector-bytes", str(sizes.simulated_bytes), "--peers")
    four = ("4", "--simulate", sizes.simulated_of_four, "--group-size", "4", "--codec", "float32")
    five = ("5", "--simulate", sizes.simulated_of_five, "--group-size", "5", "--codec", "float32")
    yield Run("scaling-4-simulated", (*simulated, *four))
    yield Run("scaling-5-simulated", (*simulated, *five))


def named(codec: str) -> str:
    """As a part of a file's name."""
    return "int8-int4" if codec == SMALL else codec


def make(run: Run, folder: Path) -> bool:
    """Whether it came to its end; its figures are there then."""
    began, unfinished = time.monotonic(), folder / f".{run.name}.json"
    print(run.command, flush=True)
    command = (sys.executable, "-m", "marfl_peer", "bench", *run.arguments, "--json")
    with unfinished.open("wb") as file:
        code = subprocess.run(command, stdout=file, check=False).returncode
    if code != 0:
        unfinished.unlink()
        print(f"  failed with exit code {code}", flush=True)
        return False
    unfinished.replace(folder / f"{run.name}.json")
    print(f"  {run.name}.json, {time.monotonic() - began:.0f} s", flush=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names, such as 'exchange-*'")
    parser.add_argument("--list", action="store_true", help="run nothing")
    parser.add_argument("--quick", action="store_true", help="small sizes: what is measured says nothing")
    parser.add_argument("--folder", type=Path, help="default: docs/bench")
    options = parser.parse_args(arguments)
    if options.quick and options.folder is None and not options.list:
        parser.error("--quick: needs --folder, so that it does not replace what was measured")
    of_all = list(runs(QUICK if options.quick else FULL))
    wanted = [run for run in of_all if fnmatch(run.name, options.only)]
    if not wanted:
        parser.error(f"--only {options.only}: fits none of {', '.join(run.name for run in of_all)}")
    folder = options.folder or FOLDER
    if options.list:
        for run in wanted:
            print(f"{run.name:34} {run.command}")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    failed, began = [], time.monotonic()
    for run in wanted:
        if run.needs_root and os.geteuid() != 0:
            print(f"{run.name} is left out: it needs root", flush=True)
        elif not make(run, folder):
            failed.append(run.name)
    print(f"{time.monotonic() - began:.0f} s in all")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
