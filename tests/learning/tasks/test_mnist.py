from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.mnist import Mnist, MnistCnn

DATA_DIR = os.environ.get("MARFL_DATA_DIR")


def write_images(path: Path, count: int, side: int = 28) -> None:
    path.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">III", count, side, side) + bytes(count * side * side))


def write_labels(path: Path, labels: list[int]) -> None:
    path.write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", len(labels)) + bytes(labels))


def toy(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_images(folder / "train-images-idx3-ubyte", 5)
    write_labels(folder / "train-labels-idx1-ubyte", [0, 1, 2, 3, 9])
    write_images(folder / "t10k-images.idx3-ubyte", 2)
    write_labels(folder / "t10k-labels.idx1-ubyte", [7, 8])
    return folder


def test_mnist_model_is_the_papers() -> None:
    model = Mnist().build_model()
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_199_882
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_mnist_model_computes_the_layers_of_the_paper() -> None:
    torch.manual_seed(0)
    model, pixels = MnistCnn(), torch.randn(2, 1, 28, 28)
    hidden = functional.relu(model.conv2(functional.relu(model.conv1(pixels))))
    expected = model.dense2(functional.relu(model.dense1(functional.max_pool2d(hidden, 2).flatten(1))))
    torch.testing.assert_close(model(pixels), expected)
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_mnist_prepares_pixels() -> None:
    pixels = Mnist().prepare(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1).expand(2, 28, 28))
    assert pixels.shape == (2, 1, 28, 28)
    torch.testing.assert_close(pixels[:, 0, 0, 0], torch.tensor([-0.1307 / 0.3081, (1 - 0.1307) / 0.3081]))


def test_mnist_loads_a_folder_its_subfolder_and_the_cache(tmp_path: Path) -> None:
    toy(tmp_path / "cache/marfl-peer/mnist")
    task = Mnist(environ={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    for folder in (tmp_path / "cache/marfl-peer/mnist", tmp_path / "cache/marfl-peer", None):
        data = task.load(folder)
        assert data.train_inputs.shape == (5, 28, 28)
        assert data.train_inputs.dtype == torch.uint8
        assert data.train_labels.tolist() == [0, 1, 2, 3, 9]
        assert data.test_labels.tolist() == [7, 8]


def test_mnist_without_files_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"marfl-peer data fetch mnist.*--data-dir") as caught:
        Mnist(environ={"XDG_CACHE_HOME": str(tmp_path)}).load(None)
    assert str(tmp_path) in str(caught.value)


def test_mnist_with_images_of_another_size_raises(tmp_path: Path) -> None:
    write_images(toy(tmp_path) / "train-images-idx3-ubyte", 5, side=27)
    with pytest.raises(ConfigError, match="no 28x28 images"):
        Mnist().load(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"), [([1, 2], "not one label for each of 5 images"), ([1, 2, 3, 4, 10], "not a digit")]
)
def test_mnist_with_labels_that_do_not_fit_raises(tmp_path: Path, labels: list[int], message: str) -> None:
    write_labels(toy(tmp_path) / "train-labels-idx1-ubyte", labels)
    with pytest.raises(ConfigError, match=message):
        Mnist().load(tmp_path)


@pytest.mark.skipif(DATA_DIR is None, reason="MARFL_DATA_DIR names no folder with mnist/")
def test_mnist_real_files_have_the_known_statistics() -> None:
    data = Mnist().load(Path(str(DATA_DIR)))
    assert data.train_inputs.shape == (60_000, 28, 28)
    assert data.test_inputs.shape == (10_000, 28, 28)
    assert torch.bincount(data.train_labels).tolist()[:3] == [5923, 6742, 5958]
    pixels = Mnist().prepare(data.train_inputs[:2000])
    assert abs(float(pixels.mean())) < 0.05
    assert abs(float(pixels.std()) - 1.0) < 0.05
