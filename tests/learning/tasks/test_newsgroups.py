from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from marfl_peer.averaging.vector import VectorSchema
from marfl_peer.errors import ConfigError
from marfl_peer.facts import IterationFinished
from marfl_peer.lab.simulator.blobs import Blobs
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.simulation import Simulation
from marfl_peer.learning.tasks.hashed_words import HashedWords
from marfl_peer.learning.tasks.newsgroups import Newsgroups, NewsHead
from marfl_peer.learning.tasks.registry import load_task
from tests.learning.tasks.news import pack, write_corpus
from tests.learning.tasks.test_pretrained import BERT, write

DATA_DIR = os.environ.get("MARFL_DATA_DIR")


@pytest.fixture
def task(tmp_path: Path) -> Newsgroups:
    return Newsgroups({"XDG_CACHE_HOME": str(tmp_path / "cache")})


@pytest.mark.parametrize(("width", "parameters"), [(8192, 591_356), (768, 56_828), (384, 29_180)])
def test_model_is_the_head_of_the_paper_on_what_the_encoder_gives(width: int, parameters: int) -> None:
    model = NewsHead(width, "ab" * 16)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model(torch.zeros(3, width)).shape == (3, 20)


def test_heads_on_different_encoders_are_not_averaged(task: Newsgroups) -> None:
    heads = [task.build_model(), NewsHead(8192), *(NewsHead(8192, digest * 16) for digest in ("ab", "cd", "ab"))]
    digests = [VectorSchema.of(head, momentum=True).digest for head in heads]
    assert digests[0] == digests[1]
    assert digests[2] == digests[4]
    assert len(set(digests)) == 3
    with pytest.raises(RuntimeError, match="encoder_cd"):
        heads[2].load_state_dict(heads[3].state_dict())
    heads[2].load_state_dict(heads[4].state_dict())


def test_peers_train_and_resume_with_the_encoder_s_digest_in_their_model(tmp_path: Path) -> None:
    class Digested(Blobs):
        def build_model(self) -> nn.Module:
            model = super().build_model()
            model.register_buffer("encoder_ab", torch.zeros(0, dtype=torch.bool))
            return model

    task, shards = Digested(8), 8
    scenario = Scenario(seed=4, peers=4, iterations=8, shards=shards)
    simulation = Simulation(scenario, folder=tmp_path, task=(task, task.load(None)))
    victim = simulation.players[3]
    for player in simulation.players:
        simulation.start(player)
    simulation.world.call(2.0, victim.host.crash)
    simulation.world.call(3.0, lambda: simulation.start(victim))
    assert simulation.run(deadline=300.0)
    for player in simulation.players:
        assert player.stopped is not None
        assert player.stopped.reason == "finished"
    last = [fact for player in simulation.players for fact in player.facts if isinstance(fact, IterationFinished)]
    assert len({fact.projection for fact in last if fact.iteration == 8}) == 1
    simulation.close()


def test_task_takes_the_encoder_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = write_corpus(tmp_path / "data")
    write(tmp_path / "data/small", BERT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    task = load_task("20news", encoder="transformer:small", data_dir=corpus)
    assert isinstance(task, Newsgroups)
    assert sum(parameter.numel() for parameter in task.build_model().parameters()) == 29_180
    assert load_task("20news").load(corpus).train_inputs.shape == (40, 2, 512)


class Lengths:
    """A text encoder of one feature."""

    width = 1
    digest = "ab" * 16
    encoding = "lengths"

    def __init__(self) -> None:
        self.calls = 0

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        self.calls += 1
        return torch.tensor([[len(text)] for text in texts], dtype=torch.float16)

    def features_of(self, encoded: Tensor) -> Tensor:
        return encoded.float() / 100


def test_encoder_sees_all_texts_once_and_gives_the_features(tmp_path: Path) -> None:
    encoder, environ = Lengths(), {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    corpus = write_corpus(tmp_path / "corpus")
    long = corpus / "20news-bydate-test/alt.atheism/9"
    long.write_bytes(b"x" * 500)
    data = [Newsgroups(environ, encoder=encoder).load(corpus) for _ in range(2)][1]
    assert encoder.calls == 1
    assert (data.train_inputs.shape, data.test_inputs.shape) == ((40, 1), (40, 1))
    features = Newsgroups(environ, encoder=encoder).prepare(data.test_inputs)
    assert features[0] == 5
    assert features.dtype == torch.float32
    Newsgroups(environ).load(corpus)
    assert len(list((tmp_path / "cache/marfl-peer/20news").glob("*.safetensors"))) == 2


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
    monkeypatch.setattr(HashedWords, "encode_texts", lambda self, texts: pytest.fail("encoded again"))
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
