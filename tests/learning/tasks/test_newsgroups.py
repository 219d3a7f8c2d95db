from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks import newsgroups
from marfl_peer.learning.tasks.newsgroups import Newsgroups, NewsHead
from tests.learning.tasks.news import pack, write_corpus

DATA_DIR = os.environ.get("MARFL_DATA_DIR")


@pytest.fixture
def task(tmp_path: Path) -> Newsgroups:
    return Newsgroups({"XDG_CACHE_HOME": str(tmp_path / "cache")})


def test_model_is_the_head_of_the_paper_on_hashed_words() -> None:
    model = NewsHead()
    assert sum(parameter.numel() for parameter in model.parameters()) == 591_356
    assert model(torch.zeros(3, 8192)).shape == (3, 20)


def test_texts_are_read_from_the_folder_its_subfolder_or_the_cache(task: Newsgroups, tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "folder")
    pack(folder, tmp_path / "data/20news")
    pack(folder, tmp_path / "cache/marfl-peer/20news")
    loaded = [task.load(place) for place in (folder, tmp_path / "data", tmp_path / "data/20news", None)]
    for data in loaded:
        assert data.train_inputs.shape == (40, 2, 512)
        assert torch.equal(data.train_inputs, loaded[0].train_inputs)
        assert data.test_labels.tolist() == [label for label in range(20) for _ in range(2)]


def test_groups_can_be_told_apart(task: Newsgroups, tmp_path: Path) -> None:
    data = task.load(write_corpus(tmp_path / "folder"))
    likeness = task.prepare(data.test_inputs) @ task.prepare(data.train_inputs).T
    assert torch.equal(data.train_labels[likeness.argmax(dim=1)], data.test_labels)


def test_texts_are_encoded_once(task: Newsgroups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_corpus(tmp_path / "folder")
    first = task.load(folder)
    monkeypatch.setattr(newsgroups, "encode_texts", lambda texts: pytest.fail("encoded again"))
    assert torch.equal(task.load(folder).train_inputs, first.train_inputs)


def test_data_that_is_not_there_says_how_to_get_it(task: Newsgroups, tmp_path: Path) -> None:
    for place in (None, tmp_path):
        with pytest.raises(ConfigError, match="marfl-peer data fetch 20news"):
            task.load(place)


@pytest.mark.skipif(DATA_DIR is None, reason="MARFL_DATA_DIR names no folder with 20news-bydate.tar.gz")
def test_real_texts_are_all_read(task: Newsgroups) -> None:
    data = task.load(Path(str(DATA_DIR)))
    assert (len(data.train_labels), len(data.test_labels)) == (11_314, 7_532)
    assert torch.bincount(data.train_labels).tolist()[:3] == [480, 584, 591]
    kept = (data.train_inputs[:, 1] > 0).sum(dim=1)
    assert (kept < 512).float().mean() > 0.98
    assert int(kept.median()) == 83
