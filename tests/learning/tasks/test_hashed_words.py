from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.learning.tasks.hashed_words import BUCKETS, KEPT, MAX_COUNT, HashedWords, encode_texts, features_of


def test_word_hits_the_same_bucket_in_every_text() -> None:
    alone, among, twice = encode_texts(["kite", "a red kite, a blue boat", "kite KITE"])
    bucket = int(alone[0, 0])
    assert alone[1].tolist()[:2] == [1, 0]
    assert bucket in among[0, among[1] > 0].tolist()
    assert twice[:, 0].tolist() == [bucket, 2]


def test_features_are_logarithms_of_counts_of_length_one() -> None:
    features = features_of(encode_texts(["kite kite boat"]))[0]
    assert features.shape == (BUCKETS,)
    high, low = features[features > 0].sort(descending=True).values.tolist()
    assert abs(high / low - (1 + torch.tensor(2.0).log().item())) < 1e-5
    assert abs(float(features.norm()) - 1) < 1e-5


def test_text_without_a_word_has_no_features() -> None:
    features = features_of(encode_texts(["", "the and of", "kite"]))
    assert features.norm(dim=1).tolist()[:2] == [0, 0]
    assert torch.isfinite(features).all()
    assert encode_texts([]).shape == (0, 2, KEPT)


def test_longest_texts_keep_their_fullest_buckets() -> None:
    words = [f"word{i}" for i in range(5000)]
    (encoded,) = encode_texts([" ".join(words + 3 * ["kite"])])
    (kite,) = encode_texts(["kite"])
    assert (encoded[1] > 0).all()
    assert encoded[1].tolist() == sorted(encoded[1].tolist(), reverse=True)
    assert int(kite[0, 0]) in encoded[0].tolist()
    assert len(set(encoded[0].tolist())) == KEPT


def test_counts_end_where_their_type_does() -> None:
    (encoded,) = encode_texts(["kite " * (MAX_COUNT + 9)])
    assert int(encoded[1, 0]) == MAX_COUNT


@given(st.lists(st.text(), max_size=4))
def test_any_text_is_encoded_by_itself(texts: list[str]) -> None:
    encoded = encode_texts(texts)
    assert torch.equal(encoded, torch.cat([encode_texts([text]) for text in texts]) if texts else encoded)
    norms = features_of(encoded).norm(dim=1)
    assert (((norms - 1).abs() < 1e-5) | (norms == 0)).all()


def test_hashed_words_are_an_encoder() -> None:
    encoder, encoded = HashedWords(), encode_texts(["kite boat"])
    assert torch.equal(encoder.encode_texts(["kite boat"]), encoded)
    assert torch.equal(encoder.features_of(encoded), features_of(encoded))
    assert (encoder.width, encoder.encoding) == (BUCKETS, "hashed-8192-1")
