"""Prints the tables of docs/reliability.md, "Scale": what a swarm costs and how near it comes to the mean as it grows.

python scripts/scale_table.py                 1,024 to 100,000 peers; some 20 s
python scripts/scale_table.py 16 64 256       other sizes
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from marfl_peer.lab.scale import rule_markdown, rule_rows, scale_markdown, scale_rows

SIZES = (16, 64, 256, 1024, 10_000, 100_000)
RULES_PEERS = 1024


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="PEERS")
    parser.add_argument("--group-size", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counted-up-to", type=int, default=1024, help="peers whose messages are counted")
    given = parser.parse_args(arguments)
    rows = scale_rows(given.sizes, group_size=given.group_size, seed=given.seed, counted_up_to=given.counted_up_to)
    print(scale_markdown(rows))
    print()
    print(rule_markdown(rule_rows(RULES_PEERS, group_size=given.group_size, seed=given.seed)))


if __name__ == "__main__":
    main()
