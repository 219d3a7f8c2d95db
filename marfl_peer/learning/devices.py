"""Which torch devices this machine has."""

from __future__ import annotations

import torch

from marfl_peer.errors import ConfigError


def checked_device(name: str) -> torch.device:
    """The device of that name, tried out. Raises: ConfigError that names those that there are."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's ways to say no
        reason = str(error).partition("\n")[0]
        raise ConfigError("device", name, f"cannot be used ({reason}): choose one of {', '.join(_usable())}") from error
    return device


def _usable() -> list[str]:
    names = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names
