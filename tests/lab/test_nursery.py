import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError, DhtError
from marfl_peer.lab.jobs import Exited, Job, Ready, Refused, Report, Signal, Start, Started, decode_report, encode
from marfl_peer.lab.nursery import prepare_child, refusal, thread_count

NOBODY_LISTENS = "/nonexistent/socket"


@contextlib.contextmanager
def nursery_of(entry: str, *, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with (
        (tmp_path / "stderr").open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "marfl_peer.lab.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            cwd=Path(__file__).parents[2],
        ) as process,
    ):
        try:
            tell(process, Job(entry=entry, settings=Settings(), facts_path=NOBODY_LISTENS))
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[bytes], message: Job | Start | Signal) -> None:
    assert process.stdin is not None
    process.stdin.write(encode(message))
    process.stdin.flush()


def hear(process: subprocess.Popen[bytes]) -> Report | None:
    assert process.stdout is not None
    line = process.stdout.readline()
    return decode_report(line) if line else None


def entry(tmp_path: Path, body: str) -> str:
    """A module whose children do what `body` says; `start` is their command."""
    indented = "\n".join(f"        {line}" for line in body.splitlines())
    (tmp_path / "hatched.py").write_text(
        f"import os, signal, sys, time\ndef prepare(job):\n    def run(start):\n{indented}\n    return run\n"
    )
    return "hatched:prepare"


WAITS = """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
open(start.settings.state_dir / "up", "w")
signal.sigwait({signal.SIGTERM})
return 3
"""


def wait_until_gone(pid: int) -> None:
    """Blocks until the process, which need not be a child of ours, has ended."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            assert select.select([fd], [], [], 20)[0], f"process {pid} is still alive"
        finally:
            os.close(fd)


def test_children_get_their_settings_and_report_their_codes(tmp_path: Path) -> None:
    body = "print('hello from', start.index, flush=True)\nreturn start.settings.seed"
    with nursery_of(entry(tmp_path, body), tmp_path=tmp_path) as process:
        ready = hear(process)
        assert isinstance(ready, Ready) and ready.threads == 1 and ready.rss_bytes > 0
        for index, code in ((0, 0), (1, 7)):
            folder = tmp_path / f"peer-{index}"
            tell(process, Start(index=index, settings=Settings(state_dir=folder, seed=code)))
            assert isinstance(hear(process), Started)
            assert hear(process) == Exited(index=index, code=code, signal=None)
            assert (folder / "peer.log").read_text() == f"hello from {index}\n"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


def test_child_that_raises_leaves_a_traceback_and_an_internal_code(tmp_path: Path) -> None:
    with nursery_of(entry(tmp_path, "return 1 // 0"), tmp_path=tmp_path) as process:
        hear(process)
        tell(process, Start(index=0, settings=Settings(state_dir=tmp_path)))
        hear(process)
        assert hear(process) == Exited(index=0, code=70, signal=None)
        assert "ZeroDivisionError" in (tmp_path / "peer.log").read_text()


def test_signal_reaches_its_child_and_the_index_can_be_used_again(tmp_path: Path) -> None:
    body = "os.kill(os.getpid(), signal.SIGSTOP)\nreturn 0"
    with nursery_of(entry(tmp_path, body), tmp_path=tmp_path) as process:
        hear(process)
        for _ in range(2):
            tell(process, Start(index=0, settings=Settings(state_dir=tmp_path)))
            assert isinstance(hear(process), Started)
            tell(process, Signal(index=5, number=signal.SIGKILL))  # nobody
            tell(process, Signal(index=0, number=signal.SIGKILL))
            assert hear(process) == Exited(index=0, code=None, signal=signal.SIGKILL)


def test_stopped_child_is_woken_to_hear_that_it_is_to_end(tmp_path: Path) -> None:
    with nursery_of(entry(tmp_path, "signal.pause()\nreturn 0"), tmp_path=tmp_path) as process:
        hear(process)
        tell(process, Start(index=0, settings=Settings(state_dir=tmp_path)))
        assert isinstance(hear(process), Started)
        tell(process, Signal(index=0, number=signal.SIGSTOP))
        tell(process, Signal(index=0, number=signal.SIGTERM))
        assert hear(process) == Exited(index=0, code=None, signal=signal.SIGTERM)


def test_end_of_commands_lets_children_leave(tmp_path: Path) -> None:
    with nursery_of(entry(tmp_path, WAITS), tmp_path=tmp_path) as process:
        hear(process)
        os.mkfifo(tmp_path / "up")  # opening it waits for the child's handler to be there
        tell(process, Start(index=0, settings=Settings(state_dir=tmp_path)))
        started = hear(process)
        assert isinstance(started, Started)
        (tmp_path / "up").open().close()
        assert process.stdin is not None
        process.stdin.close()
        assert hear(process) == Exited(index=0, code=3, signal=None)
        assert process.wait(20) == 0


def test_killed_nursery_takes_its_children_along(tmp_path: Path) -> None:
    with nursery_of(entry(tmp_path, "while True: signal.pause()"), tmp_path=tmp_path) as process:
        hear(process)
        tell(process, Start(index=0, settings=Settings(state_dir=tmp_path)))
        started = hear(process)
        assert isinstance(started, Started)
        process.kill()
        wait_until_gone(started.pid)


def test_refused_job_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "hatched.py").write_text(
        "from marfl_peer.errors import ConfigError\n"
        "def prepare(job):\n    raise ConfigError('shards', 9, 'use fewer')\n"
    )
    with nursery_of("hatched:prepare", tmp_path=tmp_path) as process:
        assert hear(process) == Refused(what="shards", value=9, remedy="use fewer", config=True)
        assert process.wait(20) == 2


def test_no_job_at_all_is_an_orderly_end(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "marfl_peer.lab.nursery"], input=b"", timeout=30, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (ConfigError("data-dir", Path("/x"), "y"), Refused(what="data-dir", value="/x", remedy="y", config=True)),
        (DhtError("silence"), Refused(what="silence", value=None, remedy="", config=False)),
        (KeyError("k"), Refused(what="KeyError: 'k'", value=None, remedy="", config=False)),
    ],
)
def test_refusal_keeps_what_the_user_needs(error: Exception, refused: Refused) -> None:
    assert refusal(error) == refused


def test_entry_that_does_not_exist_raises() -> None:
    job = Job(entry="marfl_peer.lab.jobs:no_such", settings=Settings(), facts_path="")
    with pytest.raises(AttributeError):
        prepare_child(job)


def test_thread_count_counts_this_process() -> None:
    assert thread_count() >= 1
