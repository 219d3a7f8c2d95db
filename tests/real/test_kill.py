"""One of the kill trials: the others finish, and a late joiner is taken in. All of them: scripts/kill_trials.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_trials.py"


def test_swarm_survives_the_loss_of_three_and_takes_in_a_seventeenth(commands: Callable, tmp_path: Path) -> None:
    _, environment, patience_s = commands()
    # trial 4 of this seed: leaders that die together
    chosen = {"--trials": 1, "--first": 4, "--seed": 1, "--iterations": 45, "--keep": tmp_path}
    flags = [str(word) for pair in chosen.items() for word in pair]
    trials = subprocess.run(
        [sys.executable, str(SCRIPT), *flags],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience_s,
    )
    assert trials.returncode == 0, trials.stdout + trials.stderr
    assert "1 of 1 trials held" in trials.stdout
