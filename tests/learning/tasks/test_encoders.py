from __future__ import annotations

from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.encoders import load_encoder
from marfl_peer.learning.tasks.hashed_words import HashedWords
from tests.learning.tasks.test_pretrained import BERT, write


def test_hashing_is_hashed_words_and_needs_no_file() -> None:
    encoder = load_encoder("hashing", data_dir=None, environ={})
    assert isinstance(encoder, HashedWords)
    assert (encoder.width, encoder.digest) == (8192, "")


def test_transformer_is_looked_for_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "small", BERT)
    encoder = load_encoder("transformer:small", data_dir=tmp_path, environ={})
    assert encoder.width == 384
    assert encoder.digest in encoder.encoding
    with pytest.raises(ConfigError, match="nothing is fetched"):
        load_encoder("transformer:large", data_dir=tmp_path, environ={"HF_HUB_CACHE": str(tmp_path)})


def test_short_name_is_of_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="'minilm': is not installed"):
        load_encoder("minilm", data_dir=None, environ={})


def test_encoder_of_no_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="write hashing, minilm or transformer:NAME_OR_FOLDER"):
        load_encoder("word2vec", data_dir=None, environ={})
