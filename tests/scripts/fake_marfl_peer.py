"""Stands for marfl-peer in tests of who runs it: does at once what the real one takes minutes for.

`FAKE` in its environment says how: "" writes figures, "fail" says so and ends with 2, "hang" waits to be told to leave,
"silent" ends with 0 and leaves nothing, "deaf" does not listen to that.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from pathlib import Path

MANNER = os.environ.get("FAKE", "")
WORDS = sys.argv[1:]


def after(flag: str) -> str:
    return WORDS[WORDS.index(flag) + 1]


def figures() -> str:
    if WORDS[0] == "bench":
        of_run = {"peers": 4, "group_size": 4, "grid": [4], "iterations": 2}
        sent = {"tensor": 1500.0, "control": 10.0, "dht": 5.0, "state": 0.0}
        run = of_run | {"bytes_sent": sent, "bytes_sent_last_iteration": sent}
        return json.dumps({"vector_bytes": 1000, "codec": "float32", "runs": [run]})
    row = {"iteration": 1, "test_accuracy_mean": 1 / 3, "bytes_sent": {"tensor": 12, "control": 1}, "peers_alive": 4}
    return json.dumps(
        {
            "peers": 4,
            "grid": [4],
            "iterations": [row],
            "bytes_sent_per_peer_per_iteration": {"tensor": 3.0},
            "peers_started": 4,
            "peers_finished": 4,
            "peers_lost": 0,
            "wall_seconds": 0.5,
            "environment": sorted(name for name in os.environ if name.startswith("MARFL_")),
        }
    )


if MANNER == "fail":
    print("Usage: marfl-peer ...", flush=True)
    sys.exit("Error: No such option: --mkd-iterations")
if MANNER in ("hang", "deaf"):
    if MANNER == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(Path("left").write_text("gracefully")))
    print("hanging", flush=True)
    while True:
        signal.pause()
if MANNER == "silent":
    sys.exit(0)
if WORDS[0] == "export":
    first = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    second = {"dtype": "F32", "shape": [1, 2], "data_offsets": [4, 12]}
    header = json.dumps({"b": first, "a": second}).encode()
    Path(WORDS[-1]).write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<3f", 3.0, 1.0, 2.0))
elif WORDS[0] == "bench":
    print("measuring", file=sys.stderr)
    print(figures())
else:
    (Path(after("--state-dir")) / "run" / "peer-000").mkdir(parents=True)
    Path(after("--summary")).write_text(figures())
    print("iteration 1/1  accuracy 33.33 %")
