from __future__ import annotations

import torch

from marfl_peer.learning.tasks.digits import Digits


def test_digits_are_split_the_same_way_always_and_evenly_over_classes() -> None:
    data, again = Digits().load(None), Digits().load(None)
    assert data.train_inputs.dtype == torch.uint8
    assert len(data.train_labels) + len(data.test_labels) == 1797
    assert torch.equal(data.test_inputs, again.test_inputs)
    assert torch.equal(data.train_labels, again.train_labels)
    share = torch.bincount(data.test_labels) / (torch.bincount(data.train_labels) + torch.bincount(data.test_labels))
    assert len(share) == 10
    assert (share - 0.2).abs().max() < 0.005


def test_digits_prepared_have_mean_0_and_deviation_1() -> None:
    data = Digits().load(None)
    pixels = Digits().prepare(data.train_inputs)
    assert pixels.shape == (len(data.train_labels), 1, 8, 8)
    assert pixels.dtype == torch.float32
    assert abs(float(pixels.mean())) < 0.01
    assert abs(float(pixels.std()) - 1.0) < 0.01
    assert data.train_inputs.max() == 16


def test_digits_model_is_small() -> None:
    model = Digits().build_model()
    assert sum(parameter.numel() for parameter in model.parameters()) == 5450
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
