"""Means that are computed here as members would, with real codecs: right ones pass, and what is missing shows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from marfl_peer.averaging.codecs.codec import Codec, chances
from marfl_peer.averaging.codecs.registry import codec_named
from marfl_peer.lab.bench.judging import Judgement, bounds_of, judge_encoded, judge_exact
from marfl_peer.lab.bench.vectors import mean_vector, own_vector, weight

NAMES = ("float32", "bfloat16", "float16", "int8", "int4", "topk", "topk:0.25")
CODECS = [codec_named(name) for name in NAMES]
HALF = 20_000
ENCODINGS = 2


def passed_through(codec: Codec, values: Tensor, seed: int) -> Tensor:
    """What others decode of what one has encoded."""
    out = torch.empty(codec.encoded_bytes(values.numel()), dtype=torch.uint8)
    codec.encode(values, out, chances(7919 * seed, values.numel()))
    decoded = torch.empty_like(values)
    codec.decode(out, decoded)
    return decoded


def averaged(codec: Codec, weights: Sequence[int], *, seed: int = 1) -> Tensor:
    """The mean of all with a weight, of a half; everybody's part and the result are encoded."""
    ranks = len(weights)
    parts = [own_vector(rank, ranks, HALF) for rank in range(ranks)]
    total = sum(own * passed_through(codec, parts[rank], seed + rank).double() for rank, own in enumerate(weights))
    assert isinstance(total, Tensor)
    return passed_through(codec, (total / sum(weights)).float(), seed + ranks)


def judged(codec: Codec, half: Tensor, weights: Sequence[int]) -> Judgement:
    # Both halves of the expected vector are one random vector: the first half of a longer one begins like a shorter.
    other = mean_vector(weights, 2 * HALF)[HALF:]
    return judge_encoded(
        torch.cat([half, other]), weights, theta=codec, momentum=codec_named("float32"), encodings=ENCODINGS
    )


@pytest.mark.parametrize("codec", CODECS, ids=NAMES)
@pytest.mark.parametrize("ranks", [2, 4, 5])
def test_right_mean_passes_under_every_codec_and_a_missing_member_does_not(codec: Codec, ranks: int) -> None:
    weights = [weight(rank) for rank in range(ranks)]
    for seed in range(1, 60, 20):
        judgement = judged(codec, averaged(codec, weights, seed=seed), weights)
        assert judgement.wrong == ""
    for missing in range(ranks):
        present = [0 if rank == missing else own for rank, own in enumerate(weights)]
        assert judged(codec, averaged(codec, present), weights).wrong != ""


@pytest.mark.parametrize("codec", CODECS, ids=NAMES)
def test_mean_with_other_weights_is_wrong(codec: Codec) -> None:
    assert judged(codec, averaged(codec, [1, 1, 1]), [1, 2, 3]).wrong != ""


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "int8"])
def test_one_part_of_another_rank_is_wrong(name: str) -> None:
    codec, weights = codec_named(name), [1, 1, 1]
    result = averaged(codec, weights)
    result[100:300] = own_vector(1, 3, HALF)[100:300]
    judgement = judged(codec, result, weights)
    assert "of the largest value, where rounding is at most" in judgement.wrong
    assert judgement.error > bounds_of(codec, values=HALF, encodings=ENCODINGS, ranks=3).value


def test_values_that_are_no_numbers_or_did_not_come_are_wrong() -> None:
    result = mean_vector([1, 1], HALF)
    result[0] = float("nan")
    assert judge_exact(result, [1, 1]).wrong == "it has values that are no numbers"
    assert judged(codec_named("topk"), torch.zeros(HALF), [1, 1]).wrong == "nothing came"


def test_either_half_is_judged_by_its_own_codec() -> None:
    weights, exact = [1, 2], mean_vector([1, 2], 2 * HALF)
    rounded = exact.bfloat16().float()
    kinds = {"theta": codec_named("bfloat16"), "momentum": codec_named("float32")}
    mixed = torch.cat([rounded[:HALF], exact[HALF:]])
    assert judge_encoded(mixed, weights, encodings=1, **kinds).wrong == ""
    assert judge_encoded(rounded, weights, encodings=1, **kinds).wrong != ""


def test_codec_that_nobody_thought_of_is_not_judged_by_chance() -> None:
    class Strange:
        name = "strange"

    with pytest.raises(NotImplementedError, match="strange"):
        bounds_of(Strange(), values=8, encodings=1, ranks=2)  # type: ignore[arg-type]
