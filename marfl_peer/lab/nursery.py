"""The fork server: imports and loads once, then forks a child per command, so that N peers share those pages.

Runs as `python -m marfl_peer.lab.nursery`, single-threaded, and speaks the lines of `jobs` on stdin and
stdout. What the children do is the business of the job's entry. Nobody outlives it: children die with the
nursery, and the nursery ends (its children first, gracefully) when its stdin does.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import selectors
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import BinaryIO, NoReturn

from marfl_peer.errors import ConfigError, LocalProtocolError, MarflError
from marfl_peer.lab.jobs import (
    ChildMain,
    Exited,
    Job,
    Prepare,
    Ready,
    Refused,
    Report,
    Signal,
    Start,
    Started,
    decode_command,
    decode_job,
    encode,
)
from marfl_peer.lab.memory import resident_bytes

CLOSING_GRACE_S = 10.0
PR_SET_PDEATHSIG = 1
READ_BYTES = 1 << 16


class Nursery:
    """Forks, signals and reaps children until its commands end and every child is gone."""

    def __init__(self, child_main: ChildMain, *, commands_fd: int, reports: BinaryIO, unread: bytes) -> None:
        self._child_main = child_main
        self._commands_fd = commands_fd
        self._reports = reports
        self._unread = unread
        self._children: dict[int, int] = {}  # index by pid
        self._kill_at: float | None = None
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._wake_read, self._wake_write = os.pipe()
        self._parent = os.getpid()

    def serve(self) -> None:
        """Returns when the commands have ended (or SIGTERM came) and no child is left."""
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # the wake-up descriptor tells the loop
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._commands_fd, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            self._obey_unread()
            while self._kill_at is None or self._children:
                for key, _ in selector.select(self._patience_s()):
                    if key.fd == self._wake_read:
                        self._on_wake()
                    elif not self._on_commands():
                        selector.unregister(self._commands_fd)
                self._reap()
                if self._kill_at is not None and time.monotonic() >= self._kill_at:
                    self._signal_all(signal.SIGKILL)

    def _patience_s(self) -> float | None:
        return None if self._kill_at is None else max(0.05, self._kill_at - time.monotonic())

    def _on_wake(self) -> None:
        numbers = os.read(self._wake_read, READ_BYTES)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._close()

    def _on_commands(self) -> bool:
        """False at the end of the commands."""
        received = os.read(self._commands_fd, READ_BYTES)
        if not received:
            self._close()
            return False
        self._unread += received
        self._obey_unread()
        return True

    def _obey_unread(self) -> None:
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            command = decode_command(line)
            if isinstance(command, Start):
                if self._kill_at is None:
                    self._start(command)
            else:
                self._signal(command)

    def _close(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + CLOSING_GRACE_S
            self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: int) -> None:
        for pid in self._children:
            _send(pid, number)

    def _signal(self, command: Signal) -> None:
        for pid, index in self._children.items():
            if index == command.index:
                _send(pid, command.number)

    def _start(self, command: Start) -> None:
        if command.index in self._children.values():
            raise LocalProtocolError(f"child {command.index} is still running")
        # A signal between the fork and the child's own handlers must wait, or it would be taken for the nursery's.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        pid = os.fork()
        if pid == 0:
            self._become_child(command)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        self._children[pid] = command.index
        self._report(Started(index=command.index, pid=pid))

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            index = self._children.pop(pid, None)
            if index is not None:
                code = os.waitstatus_to_exitcode(status)
                killed = -code if code < 0 else None
                self._report(Exited(index=index, code=code if killed is None else None, signal=killed))

    def _report(self, report: Report) -> None:
        try:
            write_report(self._reports, report)
        except BrokenPipeError:  # nobody listens any more: as good as the end of the commands
            self._close()

    def _become_child(self, command: Start) -> NoReturn:
        """The child's life, from the fork to the end of its process."""
        code = LocalProtocolError.exit_code
        try:
            self._leave_nursery()
            redirect_output(command.settings.state_dir / "peer.log")
            gc.enable()
            code = self._child_main(command)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _leave_nursery(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the launcher's to handle
        if self._libc is not None:
            self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._parent:  # it died before the line above
            os._exit(LocalProtocolError.exit_code)
        for fd in (self._wake_read, self._wake_write, self._commands_fd, self._reports.fileno()):
            os.close(fd)


def _send(pid: int, number: int) -> None:
    """`pid` is that of a child that was not reaped yet, so it is still its own."""
    os.kill(pid, number)
    if number == signal.SIGTERM:
        os.kill(pid, signal.SIGCONT)  # one that is stopped would not hear of it


def redirect_output(log: Path) -> None:
    """stdin reads nothing, stdout and stderr go to the end of the log; its folder is made."""
    log.parent.mkdir(parents=True, exist_ok=True)
    nothing = os.open(os.devnull, os.O_RDONLY)
    appended = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(appended, 1)
    os.dup2(appended, 2)
    os.close(appended)
    os.close(nothing)


def prepare_child(job: Job) -> ChildMain:
    """Imports the job's entry and lets it prepare. Raises: MarflError, and whatever a broken entry raises."""
    module, _, name = job.entry.partition(":")
    prepare: Prepare = getattr(importlib.import_module(module), name)
    return prepare(job)


def write_report(reports: BinaryIO, report: Report) -> None:
    reports.write(encode(report))
    reports.flush()  # a fork would copy what is left in the buffer


def refusal(error: Exception) -> Refused:
    """What the user is told when the job cannot be done."""
    if isinstance(error, ConfigError):
        value = error.value if isinstance(error.value, str | int | float | None) else str(error.value)
        return Refused(what=error.what, value=value, remedy=error.remedy, config=True)
    what = str(error) if isinstance(error, MarflError) else f"{type(error).__name__}: {error}"
    return Refused(what=what, value=None, remedy="", config=False)


def thread_count() -> int:
    """Threads of this process, those of C libraries included; 1 where /proc does not tell."""
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return 1


def main() -> int:
    """Exit code 0 after an orderly end, 2 for a job that was refused."""
    began = time.monotonic()
    reports = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the reports
    commands_fd = os.dup(0)
    received = b""
    while b"\n" not in received:
        more = os.read(commands_fd, READ_BYTES)
        if not more:
            return 0
        received += more
    line, _, unread = received.partition(b"\n")
    gc.disable()
    try:
        child_main = prepare_child(decode_job(line))
    except Exception as error:
        if not isinstance(error, MarflError):
            traceback.print_exc()
        write_report(reports, refusal(error))
        return ConfigError.exit_code
    gc.collect()
    gc.freeze()
    seconds = time.monotonic() - began
    write_report(reports, Ready(seconds=seconds, rss_bytes=resident_bytes(), threads=thread_count()))
    Nursery(child_main, commands_fd=commands_fd, reports=reports, unread=unread).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
