"""One process from start to end: its lines as they come, its exit code, and its end when somebody wants that.

It lives in a session of its own, so that Ctrl+C reaches it once and through here. Knows nothing of what it runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 30.0
"""For leaving when asked to."""
KEPT_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """`last_lines`: what it said last, without empty lines."""

    code: int
    timed_out: bool
    last_lines: Sequence[str]


def run_process(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    limit_s: float,
    heard: Callable[[str], None],
    output: Path | None = None,
    grace_s: float = GRACE_S,
) -> Ended:
    """Runs it in `folder` to its end, or to `limit_s`. `heard` gets its lines; with `output` its stdout goes into that
    file, and the lines are those of stderr. KeyboardInterrupt asks the process to leave and is raised on when it has.
    """
    with contextlib.ExitStack() as stack:
        stdout = subprocess.PIPE if output is None else stack.enter_context(output.open("wb"))
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT if output is None else subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        lines = process.stdout if output is None else process.stderr
        assert lines is not None
        stack.enter_context(lines)
        timed_out = threading.Event()
        timer = threading.Timer(limit_s, _stop, (process, timed_out))
        timer.start()
        last: deque[str] = deque(maxlen=KEPT_LINES)
        try:
            for line in lines:
                if line.strip():
                    last.append(line.strip())
                    heard(line.strip())
            code = process.wait()
        except BaseException:
            _leave(process, grace_s)
            raise
        finally:
            timer.cancel()
            timer.join()
            _kill_rest(process)
    return Ended(code=code, timed_out=timed_out.is_set(), last_lines=tuple(last))


def _leave(process: subprocess.Popen[str], grace_s: float) -> None:
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGTERM)  # SIGINT is ignored by who was started in the background
        process.wait(grace_s)


def _stop(process: subprocess.Popen[str], timed_out: threading.Event) -> None:
    timed_out.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _kill_rest(process: subprocess.Popen[str]) -> None:
    """Nobody of its session stays."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
