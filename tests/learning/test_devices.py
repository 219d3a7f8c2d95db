from __future__ import annotations

import pytest
import torch

from marfl_peer.errors import ConfigError
from marfl_peer.learning.devices import checked_device


def test_checked_device_that_is_there_is_given() -> None:
    assert checked_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "meta", "toaster", ""])
def test_checked_device_that_is_not_there_names_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match="choose one of cpu") as caught:
        checked_device(name)
    assert caught.value.value == name
