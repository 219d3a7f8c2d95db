"""Plants bugs in the product and lets the simulator's checkers find them: `python scripts/soak_selftest.py`.

Prints a table: bug, invariant that caught it, seeds needed, CPU seconds. Exit code 1 if one is not found.
"""

from __future__ import annotations

import argparse
import sys
import time

from marfl_peer.lab.simulator.planted.catalogue import CATALOGUE
from marfl_peer.lab.simulator.selftest import MOST_SEEDS, Finding, hunt_all

ROW = "{:30} {:10} {:>6} {:>6} {:>8}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help="most seeds for each bug")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", action="append", default=[], help="name of a planted bug; may be repeated")
    parser.add_argument("--messages", action="store_true", help="with what the checker said")
    options = parser.parse_args(arguments)
    unknown = set(options.only) - {bug.name for bug in CATALOGUE}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")

    def show(finding: Finding) -> None:
        seed = "-" if finding.seed is None else finding.seed
        print(
            ROW.format(finding.bug, finding.invariant or "not found", finding.seeds, seed, f"{finding.cpu_s:.1f}"),
            flush=True,
        )
        if options.messages and finding.message:
            print(f"    {finding.message}")

    started = time.monotonic()
    print(ROW.format("planted bug", "found by", "seeds", "seed", "CPU s"))
    findings = hunt_all(most_seeds=options.seeds, processes=options.processes, names=options.only, on_finding=show)
    missed = [finding.bug for finding in findings if finding.invariant is None]
    print(f"{len(findings) - len(missed)} of {len(findings)} found in {time.monotonic() - started:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
