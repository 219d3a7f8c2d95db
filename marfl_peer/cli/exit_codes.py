"""What the process ends with, and what each number means: one table for code, help and documentation."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """From 64 on the numbers are those of sysexits.h, above 128 those of a shell for a signal."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WARNINGS = 3
    UNAVAILABLE = 69
    INTERNAL = 70
    FILE = 74
    PROTOCOL = 76
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "finished, reached its target or its privacy budget, or left when asked to",
    ExitCode.FAILED: "the run ended, but not well: peers were lost, the peer stopped with an error, or a simulated run "
    "broke an invariant; or the doctor found what keeps a peer from running",
    ExitCode.USAGE: "a flag, setting, file or folder that cannot be: the message says what to change",
    ExitCode.WARNINGS: "the doctor has warnings, and found nothing worse",
    ExitCode.UNAVAILABLE: "no peer answered, or the DHT could not be used",
    ExitCode.INTERNAL: "a bug in this program: please report the traceback",
    ExitCode.FILE: "a file could not be read or written",
    ExitCode.PROTOCOL: "another peer broke the protocol",
    ExitCode.INTERRUPTED: "stopped by Ctrl+C before it could leave gracefully",
    ExitCode.TERMINATED: "stopped by SIGTERM before it could leave gracefully",
}


def of_signal(number: int) -> int:
    """The exit code of a process that a signal ended, as shells report it."""
    return 128 + number
