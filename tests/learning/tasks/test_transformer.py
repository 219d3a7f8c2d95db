from __future__ import annotations

import io
import os
from pathlib import Path

import msgspec
import pytest
import torch

pytest.importorskip("transformers", reason="pip install 'marfl-peer[transformers]'")

from rich.console import Console
from transformers import BertModel

from marfl_peer.learning.tasks.transformer import LINES, REFUSED, Lines, Order, Unusable, embed, main, work
from tests.learning.tasks.tiny import WIDTH, WORDS, change_one_weight, write_bert

TEXTS = ("red kites", "a boat", "", "kite " * 40, "red boat post kite red boat")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


def order(folder: Path, texts: tuple[str, ...] = TEXTS, **other: object) -> Order:
    fields: dict[str, object] = {
        "folder": str(folder),
        "width": WIDTH,
        "pooling": "cls",
        "compares_angles": False,
        "tokens": 16,
        "threads": 1,
        "parent": os.getppid(),
        "texts": list(texts),
    }
    return msgspec.convert(fields | other, Order)


def ignore(done: int) -> None: ...


def by_hand(folder: Path, words: list[str]) -> torch.Tensor:
    """What the model gives for one text of known words: float32 [tokens, width]."""
    ids = torch.tensor([[WORDS.index(word) for word in words]])
    with torch.inference_mode():
        hidden: torch.Tensor = BertModel.from_pretrained(folder).eval()(ids).last_hidden_state
    return hidden[0]


def test_first_token_s_vector_or_the_mean_is_a_text_s(bert: Path) -> None:
    tokens = by_hand(bert, ["[CLS]", "red", "kite", "##s", "[SEP]"])
    first, mean = (embed(order(bert, pooling=pooling), show=ignore)[0] for pooling in ("cls", "mean"))
    assert first.dtype == torch.float16
    torch.testing.assert_close(first.float(), tokens[0], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(mean.float(), tokens.mean(dim=0), rtol=2e-3, atol=2e-3)


def test_text_is_cut_at_so_many_tokens(bert: Path) -> None:
    tokens = by_hand(bert, ["[CLS]", *["kite"] * 14, "[SEP]"])
    found = embed(order(bert, pooling="mean"), show=ignore)[3]
    torch.testing.assert_close(found.float(), tokens.mean(dim=0), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_text_gives_the_same_alone_and_beside_longer_ones(bert: Path, pooling: str) -> None:
    together = embed(order(bert, pooling=pooling), show=ignore)
    alone = [embed(order(bert, (text,), pooling=pooling), show=ignore)[0] for text in TEXTS]
    torch.testing.assert_close(together, torch.stack(alone), rtol=2e-3, atol=2e-3)


def test_embeddings_whose_angle_counts_have_one_length(bert: Path) -> None:
    raw, scaled = (embed(order(bert, compares_angles=angles), show=ignore).float() for angles in (False, True))
    torch.testing.assert_close(scaled.norm(dim=1), torch.full((5,), WIDTH**0.5), rtol=2e-3, atol=0)
    torch.testing.assert_close(scaled, raw / raw.norm(dim=1, keepdim=True) * WIDTH**0.5, rtol=5e-3, atol=5e-3)


def test_progress_counts_all_texts(bert: Path) -> None:
    done: list[int] = []
    embed(order(bert, ("a",) * 70), show=done.append)
    assert done == [32, 64, 70]


def test_progress_off_a_terminal_is_some_lines() -> None:
    console = Console(file=io.StringIO(), width=80)
    lines = Lines(18_846, console)
    for done in range(0, 18_846, 32):
        lines(done)
    lines(18_846)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue().splitlines()
    assert len(told) == LINES
    assert told[-1] == "embedding texts: 18,846 of 18,846"


def test_progress_on_a_terminal_is_a_bar(bert: Path) -> None:
    screen = io.StringIO()
    work(order(bert), Console(file=screen, force_terminal=True, width=80), is_wanted=lambda: True)
    assert "embedding texts" in screen.getvalue()


def test_work_that_nobody_wants_ends(bert: Path) -> None:
    with pytest.raises(SystemExit):
        work(order(bert), Console(file=io.StringIO()), is_wanted=lambda: False)


def test_damaged_models_are_unusable(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(Unusable, match="gives vectors of 32 values where its config"):
        embed(order(bert, width=31), show=ignore)
    with pytest.raises(Unusable, match="not finite"):
        change_one_weight(write_bert(tmp_path), float("nan"))
        embed(order(tmp_path), show=ignore)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(Unusable, match="Error: "):
        embed(order(tmp_path), show=ignore)


def test_results_are_bytes_and_refusals_reasons(bert: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    console = Console(file=io.StringIO())
    results = io.BytesIO()
    assert main(io.BytesIO(msgspec.json.encode(order(bert))), results, console) == 0
    vectors = torch.frombuffer(bytearray(results.getvalue()), dtype=torch.float16).view(len(TEXTS), WIDTH)
    assert torch.equal(vectors, embed(order(bert), show=ignore))
    refusal = io.BytesIO()
    assert main(io.BytesIO(msgspec.json.encode(order(tmp_path))), refusal, console) == REFUSED
    assert b"\n" not in refusal.getvalue()
    assert b"Error: " in refusal.getvalue()
    torch.set_num_threads(threads)
