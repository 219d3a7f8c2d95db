from __future__ import annotations

import pytest
import torch
from torch import nn

from marfl_peer.averaging.codecs.layout import Layout
from marfl_peer.averaging.codecs.registry import parse_codecs
from marfl_peer.averaging.vector import VectorSchema


class Normed(nn.Module):
    """18 parameters and 6 float buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


def sections(codec: str, *, momentum: bool = True, model: nn.Module | None = None) -> list[tuple[int, int, str, bool]]:
    schema = VectorSchema.of(model or Normed(), momentum=momentum)
    layout = Layout.of(schema, parse_codecs(codec))
    assert layout.borders == tuple(one.start for one in layout.sections)[1:]
    return [(one.start, one.stop, one.codec.name, one.is_delta) for one in layout.sections]


def test_theta_travels_as_a_difference_and_buffers_as_they_are() -> None:
    assert sections("theta=int8,momentum=int4") == [
        (0, 18, "int8", True),
        (18, 36, "int4", False),
        (36, 42, "float32", False),
    ]


def test_what_the_vector_does_not_have_has_no_section() -> None:
    assert sections("int8", momentum=False) == [(0, 18, "int8", True), (18, 24, "float32", False)]
    assert sections("int8", model=nn.Linear(1, 1)) == [(0, 2, "int8", True), (2, 4, "int8", False)]


def test_threshold_of_private_updates_travels_as_it_is_and_server_momentum_as_momentum() -> None:
    schema = VectorSchema.of(nn.Linear(1, 1), momentum=True, private=True)
    layout = Layout.of(schema, parse_codecs("theta=int8,momentum=int4"))
    found = [(one.start, one.stop, one.codec.name, one.is_delta) for one in layout.sections]
    assert found == [(0, 2, "int8", True), (2, 4, "int4", False), (4, 5, "float32", False)]
    assert schema.clip_at == 4


def test_exact_theta_needs_no_base() -> None:
    assert sections("momentum=int8")[0] == (0, 18, "float32", False)


@pytest.mark.parametrize(("codec", "is_exact"), [("float32", True), ("momentum=int8", False), ("topk", False)])
def test_layout_is_exact_if_all_its_codecs_are(codec: str, is_exact: bool) -> None:
    assert Layout.of(VectorSchema.of(Normed(), momentum=True), parse_codecs(codec)).is_exact == is_exact


def test_every_float_is_in_the_section_that_holds_it() -> None:
    layout = Layout.of(VectorSchema.of(Normed(), momentum=True), parse_codecs("theta=int8,momentum=int4"))
    found = [layout.at(index) for index in range(42)]
    assert all(section.start <= index < section.stop for index, section in enumerate(found))
    assert torch.tensor([section.start for section in found]).unique().tolist() == [0, 18, 36]
