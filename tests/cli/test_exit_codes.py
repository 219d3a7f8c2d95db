from __future__ import annotations

import signal

from marfl_peer.cli.exit_codes import MEANINGS, ExitCode, of_signal


def test_every_exit_code_is_explained_in_rising_order() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert list(MEANINGS) == sorted(MEANINGS)
    assert all(MEANINGS.values())


def test_signals_are_reported_as_shells_do() -> None:
    assert of_signal(signal.SIGINT) == ExitCode.INTERRUPTED
    assert of_signal(signal.SIGTERM) == ExitCode.TERMINATED
