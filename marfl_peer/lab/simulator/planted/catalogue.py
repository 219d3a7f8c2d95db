"""All planted bugs."""

from __future__ import annotations

from marfl_peer.lab.simulator.planted.in_ballots import BALLOTS
from marfl_peer.lab.simulator.planted.in_lives import LIVES
from marfl_peer.lab.simulator.planted.in_numbers import NUMBERS
from marfl_peer.lab.simulator.planted.planting import Planted

CATALOGUE: tuple[Planted, ...] = (*BALLOTS, *NUMBERS, *LIVES)
