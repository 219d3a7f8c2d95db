"""Runs every bench whose figures docs/benchmarks.md quotes, one after the other, and keeps what each prints.

python scripts/make_benchmarks.py                       all of them: an hour or more; nothing else should run meanwhile
python scripts/make_benchmarks.py --only 'exchange-*'   those whose name fits
python scripts/make_benchmarks.py --list                names and commands
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
CODECS = ("float32", "bfloat16", "float16", "int8", "int4", "topk")
ON_LINKS = ("float32", "bfloat16", "int8")
SMALL = "theta=int8,momentum=int4"
BYTES = "9600000"
"""Theta and momentum of the paper's CNN, rounded as the published figures are."""


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


def runs() -> Iterator[Run]:
    """In the order in which they are made."""
    yield Run("codecs", ("codecs", "--bytes", BYTES))
    exchange = ("exchange", "--members", "4", "--bytes", BYTES)
    for codec in CODECS:
        yield Run(f"exchange-{codec}", (*exchange, "--codec", codec))
    for codec in ON_LINKS:
        yield Run(f"exchange-1gbit-{codec}", (*exchange, "--codec", codec, "--link-rate", "1gbit"))
    slow = ("--link-rate", "1gbit", "--slow-members", "1", "--slow-rate", "100mbit", "--repeats", "20")
    yield Run("exchange-1gbit-one-slow", (*exchange, *slow))
    aggregation = ("aggregation", "--peers", "16", "--group-size", "4", "--bytes", BYTES)
    for codec in ON_LINKS:
        yield Run(f"aggregation-{codec}", (*aggregation, "--codec", codec))
    scaling = ("scaling", "--iterations", "20", "--vector-bytes", BYTES)
    for codec in ("float32", SMALL):
        name = "float32" if codec == "float32" else "int8-int4"
        yield Run(f"scaling-4-{name}", (*scaling, "--peers", "16,64", "--group-size", "4", "--codec", codec))
        yield Run(f"scaling-5-{name}", (*scaling, "--peers", "5,25,125", "--group-size", "5", "--codec", codec))
    far = ("--peers", "5", "--simulate", "5,25,125,625", "--group-size", "5", "--codec", SMALL)
    yield Run("scaling-5-simulated", ("scaling", "--iterations", "3", "--vector-bytes", "960000", *far))


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
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    wanted = [run for run in runs() if fnmatch(run.name, options.only)]
    if not wanted:
        parser.error(f"--only {options.only}: fits none of {', '.join(run.name for run in runs())}")
    if options.list:
        for run in wanted:
            print(f"{run.name:24} {run.command}")
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for run in wanted:
        if run.needs_root and os.geteuid() != 0:
            print(f"{run.name} is left out: it needs root", flush=True)
        elif not make(run, options.folder):
            failed.append(run.name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
