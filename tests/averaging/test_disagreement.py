from __future__ import annotations

import math
import subprocess
import sys

import pytest

from marfl_peer.averaging.disagreement import disagreement


def test_disagreement_needs_no_torch() -> None:
    code = "import sys, marfl_peer.averaging.disagreement; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_disagreement_of_equal_sketches_is_zero() -> None:
    own = [0.5, -1.25, 3.0]
    assert disagreement([own, own, own]) < 1e-15
    assert disagreement([own]) == 0.0
    assert disagreement([]) == 0.0


def test_disagreement_around_zero_is_zero_or_infinite() -> None:
    assert disagreement([(0.0, 0.0), (0.0, 0.0)]) == 0.0
    assert disagreement([(1.0, 0.0), (-1.0, 0.0)]) == math.inf


def test_disagreement_finds_the_furthest() -> None:
    assert disagreement([(3.0,), (3.0,), (6.0,)]) == pytest.approx(0.5)
