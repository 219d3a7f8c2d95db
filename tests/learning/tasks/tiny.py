"""Encoders of a few hundred weights, in the form of the hub's models, for tests."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

WIDTH = 32
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "kite", "boat", "red", "##s", "post")
POOLING = ("cls_token", "mean_tokens", "max_tokens")


def write_bert(folder: Path, *, seed: int = 0, positions: int = 128) -> Path:
    """A BERT with random weights that knows `WORDS`. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder


def make_sentence_encoder(folder: Path, pooling: str, *, normalize: bool = True) -> None:
    """Makes of the model there one that says how its tokens become one vector."""
    steps = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [{"idx": 0, "name": "0", "path": paths[step], "type": f"sentence.models.{step}"} for step in steps]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in POOLING}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": WIDTH, **modes}))


def change_one_weight(folder: Path, value: float) -> None:
    """Of the model there, the first of its first tensor."""
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name].flatten()[0] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
