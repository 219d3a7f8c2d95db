from __future__ import annotations

import pytest

from marfl_peer.averaging.codecs.registry import parse_codecs
from marfl_peer.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "theta", "momentum"),
    [
        ("float32", "float32", "float32"),
        ("int8", "int8", "int8"),
        ("theta=int8,momentum=int4", "int8", "int4"),
        ("momentum=bfloat16", "float32", "bfloat16"),
        ("topk", "topk:0.0625", "topk:0.0625"),
        ("theta=topk:0.01, momentum=float16", "topk:0.01", "float16"),
    ],
)
def test_codecs_are_read(text: str, theta: str, momentum: str) -> None:
    codecs = parse_codecs(text)
    assert (codecs.theta.name, codecs.momentum.name) == (theta, momentum)


@pytest.mark.parametrize(
    "text", ["int9", "theta=int8,theta=int4", "weights=int8", "topk:0", "topk:x", "topk:2", "", "="]
)
def test_what_is_no_codec_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_codecs(text)
    assert "codec" in str(caught.value)
