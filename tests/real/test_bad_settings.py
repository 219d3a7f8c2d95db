"""What a user is told who asks for what cannot be: one line that names the cause, and the documented exit code."""

from __future__ import annotations

import gzip
import json
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.lab.ports import free_ports

JOIN = ("join", "--log-level", "warning", "--host", "127.0.0.1", "--port", "0")


@dataclass(frozen=True)
class Mistake:
    """`says` must be in the message; words in braces are paths and ports of the test."""

    arguments: tuple[str, ...]
    says: str
    exit_code: ExitCode = ExitCode.USAGE
    environment: dict[str, str] = field(default_factory=dict)


MISTAKES = {
    "flag": Mistake(("join", "--no-such-flag"), "--no-such-flag"),
    "environment": Mistake(JOIN, "MARFL_GRUOP_SIZE", environment={"MARFL_GRUOP_SIZE": "4"}),
    "environment value": Mistake(JOIN, "MARFL_PORT", environment={"MARFL_PORT": "many"}),
    "config key": Mistake((*JOIN, "--config", "{folder}/unknown.toml"), "unknown.toml: gruop_size"),
    "config value": Mistake((*JOIN, "--config", "{folder}/value.toml"), "value.toml: iterations"),
    "config missing": Mistake((*JOIN, "--config", "{folder}/none.toml"), "none.toml"),
    "group size": Mistake((*JOIN, "--group-size", "1"), "--group-size: 1: must be at least 2"),
    "log format": Mistake((*JOIN, "--log-format", "xml"), "--log-format: 'xml': choose one of text, json"),
    "private overlap": Mistake((*JOIN, "--dp-noise", "1", "--overlap"), "overlap: True: does not go with --dp-noise 1"),
    "budget without noise": Mistake((*JOIN, "--dp-epsilon-budget", "1"), "needs noise: give --dp-noise, too"),
    "budget too small": Mistake(
        (*JOIN, "--dp-noise", "1", "--dp-epsilon-budget", "1", "--state-dir", "{folder}/l"),
        "one update at --dp-noise 1 costs 4.7",
    ),
    "address": Mistake((*JOIN, "--bootstrap", "nowhere"), "write HOST:PORT"),
    "port in use": Mistake(("join", "--host", "127.0.0.1", "--port", "{tcp}", "--state-dir", "{folder}/a"), "{tcp}"),
    "udp port in use": Mistake(
        ("join", "--host", "127.0.0.1", "--port", "{udp}", "--state-dir", "{folder}/b"), "{udp}"
    ),
    "metrics port in use": Mistake(
        (*JOIN, "--metrics-port", "{tcp}", "--state-dir", "{folder}/c"), "metrics-port: {tcp}"
    ),
    "state folder is a file": Mistake((*JOIN, "--state-dir", "{folder}/file"), "{folder}/file"),
    "state folder in proc": Mistake((*JOIN, "--state-dir", "/proc/marfl"), "/proc/marfl"),
    "task": Mistake((*JOIN, "--task", "chess", "--state-dir", "{folder}/d"), "choose one of digits, mnist, 20news"),
    "task module": Mistake((*JOIN, "--task", "no_such:factory", "--state-dir", "{folder}/e"), "does not import"),
    "task module elsewhere": Mistake(
        (*JOIN, "--task", "no_such:factory", "--task-dir", "{folder}/tasks", "--state-dir", "{folder}/e"),
        "it is looked for in {folder}/tasks too",
    ),
    "task module fails": Mistake((*JOIN, "--task", "broken:factory", "--state-dir", "{folder}/f"), "ZeroDivisionError"),
    "task factory": Mistake((*JOIN, "--task", "whole:nothing", "--state-dir", "{folder}/g"), "has no 'nothing'"),
    "data missing": Mistake(
        (*JOIN, "--task", "mnist", "--data-dir", "{folder}/empty", "--state-dir", "{folder}/h"), "{folder}/empty"
    ),
    "data damaged": Mistake(
        (*JOIN, "--task", "mnist", "--data-dir", "{folder}/damaged", "--state-dir", "{folder}/i"),
        "train-images-idx3-ubyte",
    ),
    "encoder": Mistake((*JOIN, "--task", "20news", "--encoder", "bert"), "write hashing, minilm or transformer:NAME"),
    "encoder of another task": Mistake((*JOIN, "--encoder", "minilm"), "task digits has no texts"),
    "encoder missing": Mistake(
        (*JOIN, "--task", "20news", "--encoder", "transformer:{folder}/none", "--state-dir", "{folder}/l"),
        "download it first",
    ),
    "more peers than samples": Mistake(("swarm", "--peers", "2000", "--plain", "--state-dir", "{folder}/j"), "2000"),
    "nobody there": Mistake(
        (*JOIN, "--bootstrap", "127.0.0.1:{free}", "--wait-timeout-s", "1", "--state-dir", "{folder}/k"),
        "nobody answers at 127.0.0.1:{free}",
        ExitCode.UNAVAILABLE,
    ),
    "status of nobody": Mistake(("status", "127.0.0.1:{free}"), "127.0.0.1:{free}", ExitCode.UNAVAILABLE),
    "nothing to export": Mistake(("export", "--state-dir", "{folder}/empty", "out"), "{folder}/empty"),
    "too many for one group": Mistake(
        ("swarm", "--peers", "200", "--aggregation", "ring", "--plain", "--state-dir", "{folder}/l"),
        "is one group of all peers, 128 at most, not 200",
    ),
    "baseline with a codec": Mistake(
        (*JOIN, "--aggregation", "rdfl", "--codec", "int8", "--state-dir", "{folder}/m"), "use --codec float32"
    ),
    "baseline with a placement": Mistake(
        (*JOIN, "--aggregation", "gossip", "--placement", "hashed", "--state-dir", "{folder}/n"), "says who meets whom"
    ),
    "report of nothing": Mistake(("report", "{folder}/none"), "{folder}/none: does not exist"),
    "report of something else": Mistake(("report", "{folder}/file"), "{folder}/file: is not JSON"),
    "distillation with overlap": Mistake(
        (*JOIN, "--mkd-iterations", "3", "--overlap", "--state-dir", "{folder}/l"), "does not go with --overlap"
    ),
    "dial-only without a bootstrap": Mistake(
        ("join", "--dial-only", "--state-dir", "{folder}/o"), "say whom it is to dial with --bootstrap"
    ),
    "dial-only with a host": Mistake(
        (*JOIN, "--dial-only", "--bootstrap", "127.0.0.1:{free}", "--state-dir", "{folder}/o"),
        "does not go with --dial-only: it announces no address",
    ),
    "summary in no folder": Mistake(
        ("swarm", "--peers", "2", "--summary", "{folder}/none/s.json"), "{folder}/none/s.json"
    ),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A folder of files that are not what they should be, and ports that are taken, or free."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "unknown.toml").write_text("gruop_size = 4\n")
    (folder / "value.toml").write_text('iterations = "ten"\n')
    (folder / "file").write_text("a file in place of a folder\n")
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "whole.py").write_text("def factory(): ...\n")
    (folder / "empty").mkdir()
    (folder / "damaged").mkdir()
    header = bytes((0, 0, 8, 3)) + b"".join(size.to_bytes(4, "big") for size in (60_000, 28, 28))
    with gzip.open(folder / "damaged" / "train-images-idx3-ubyte.gz", "wb") as images:
        images.write(header + bytes(1000))
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (folder / "damaged" / name).write_bytes(b"")
    tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with tcp, udp:
        udp.bind(("127.0.0.1", 0))
        free = free_ports(1, host="127.0.0.1", rng=random.Random())[0]
        yield {
            "folder": str(folder),
            "tcp": str(tcp.getsockname()[1]),
            "udp": str(udp.getsockname()[1]),
            "free": str(free),
        }


FORKS = """
import gc, json, os, sys
import marfl_peer.lab.swarm, marfl_peer.peer.blocking, sklearn.datasets
from marfl_peer.cli.main import main

gc.freeze()
started = {}
for name, arguments, environment in json.load(sys.stdin):
    if pid := os.fork():
        started[pid] = name
        continue
    for number, stream in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{name}.{stream}", os.O_WRONLY | os.O_CREAT), number)
    os.environ |= environment
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code or 0)  # taking everything down that was imported takes longer than all the rest
ended = (os.wait() for _ in range(len(started)))
json.dump({started[pid]: os.waitstatus_to_exitcode(status) for pid, status in ended}, sys.stdout)
"""
"""Imports once what every command imports, which is most of what they do before they say what is wrong."""


@pytest.fixture(scope="module")
def exit_codes(places: dict[str, str], commands: Callable) -> dict[str, int]:
    """Of all of them; their output is in the folder."""
    _, environment, patience_s = commands()
    mistakes = [
        (name, [argument.format(**places) for argument in mistake.arguments], mistake.environment)
        for name, mistake in MISTAKES.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        input=json.dumps(mistakes),
        cwd=places["folder"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=True,
    )
    codes: dict[str, int] = json.loads(done.stdout)
    return codes


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_line_and_its_exit_code(name: str, places: dict[str, str], exit_codes: dict[str, int]) -> None:
    mistake = MISTAKES[name]
    output, errors = (Path(places["folder"], f"{name}.{stream}").read_text() for stream in ("out", "err"))
    assert mistake.says.format(**places) in errors, errors
    assert exit_codes[name] == mistake.exit_code, errors
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line]
    # Of a command line that cannot be read, click repeats the usage.
    most = 3 if name == "flag" else 1
    assert len(lines) <= most, errors
    assert output == "" or name == "more peers than samples"
