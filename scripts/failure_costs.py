"""What failures cost in accuracy, time and bytes: simulated swarms on the digits, each beside the same one in peace.

python scripts/failure_costs.py                      prints the table; some minutes of one core
python scripts/failure_costs.py --write              puts it into docs/reliability.md
python scripts/failure_costs.py dead-leader --seeds 1   some cases, other seeds

Exit code 1 if an invariant was broken on the way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from marfl_peer.lab.simulator.cost_table import markdown
from marfl_peer.lab.simulator.cost_trials import CASES, trials

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- failure_costs.py: begin -->", "<!-- failure_costs.py: end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--seeds", type=int, default=3, help="runs a case, on seeds 1, 2, ...")
    parser.add_argument("--iterations", type=int, default=25, help="at least so many")
    parser.add_argument("--task", default="digits")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}, in place of the table there")
    given = parser.parse_args(arguments)
    if given.write and (given.cases or BEGIN not in PAGE.read_text(encoding="utf-8")):
        parser.error(f"--write is for all cases, and needs the marks of the table in {PAGE}")
    torch.set_num_threads(1)
    done = []
    for trial in trials(
        given.cases or [*CASES], range(1, given.seeds + 1), task=given.task, iterations=given.iterations
    ):
        done.append(trial)
        print(f"{trial.case}, seed {trial.seed}: {trial.cpu_s:.1f} CPU seconds", file=sys.stderr, flush=True)
        for text in trial.broken:
            print(f"  {text}", file=sys.stderr)
    table = markdown(done)
    if given.write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")
        print(f"wrote {PAGE}")
    else:
        print(table, end="")
    return 1 if any(trial.broken for trial in done) else 0


def replaced(page: str, table: str) -> str:
    """The page with this between its marks."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table}{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
