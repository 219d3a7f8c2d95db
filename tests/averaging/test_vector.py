from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from marfl_peer.averaging.vector import (
    VectorSchema,
    agreed_alone,
    integer_buffers,
    pack,
    set_integer_buffers_,
    unpack_,
)
from marfl_peer.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from marfl_peer.learning.optimizer import MomentumSGD


class Mixed(nn.Module):
    """One of everything: a half-precision parameter, a frozen one, a shared one, buffers of all kinds."""

    seen: Tensor
    scratch: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.low = nn.Parameter(torch.arange(2, dtype=torch.bfloat16))
        self.scalar = nn.Parameter(torch.tensor(5.0, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.ones(9), requires_grad=False)
        self.norm = nn.BatchNorm1d(4)
        self.tied = nn.Linear(3, 4, bias=False)
        self.tied.weight = self.first.weight
        self.register_buffer("seen", torch.tensor([True, False]))
        self.register_buffer("scratch", torch.ones(6), persistent=False)


def mixed(seed: int = 0) -> Mixed:
    torch.manual_seed(seed)
    return Mixed()


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def packed(schema: VectorSchema, model: nn.Module, optimizer: Optimizer | None) -> Tensor:
    # nan: whatever pack leaves unwritten shows
    vector = torch.full((schema.length,), float("nan"))
    pack(schema, model, optimizer, vector)
    return vector


def test_schema_of_a_mixed_model_lists_what_is_sent_in_order() -> None:
    schema = VectorSchema.of(mixed(), momentum=True)
    parameters = ["low", "scalar", "first.weight", "first.bias", "norm.weight", "norm.bias"]
    assert [(entry.part, entry.name) for entry in schema.entries] == [
        *(("theta", name) for name in parameters),
        *(("momentum", name) for name in parameters),
        ("buffer", "norm.running_mean"),
        ("buffer", "norm.running_var"),
    ]
    assert [(item.name, item.size) for item in schema.maxima] == [("seen", 2), ("norm.num_batches_tracked", 1)]
    assert schema.theta_length == 2 + 1 + 12 + 4 + 4 + 4
    assert schema.length == 2 * schema.theta_length + 8
    end = 0
    for entry in schema.entries:
        assert entry.offset == end
        end += entry.size
    assert end == schema.length


def test_schema_without_momentum_has_none() -> None:
    schema = VectorSchema.of(mixed(), momentum=False)
    assert not schema.has_momentum
    assert schema.length == schema.theta_length + 8
    assert VectorSchema.of(mixed(), momentum=True).has_momentum


@pytest.mark.parametrize("momentum", [False, True])
def test_schema_without_its_momentum_holds_what_the_model_computes_with(momentum: bool) -> None:
    model = mixed()
    alone, schema = VectorSchema.of(model, momentum=False), VectorSchema.of(model, momentum=momentum)
    short = schema.without_momentum()
    assert short.entries == alone.entries
    assert (short.length, short.theta_length, short.maxima) == (alone.length, schema.theta_length, ())
    vector, other = torch.empty(short.length), mixed(seed=3)
    pack(short, model, None, vector)
    unpack_(short, vector, other, None)
    again = torch.empty(short.length)
    pack(short, other, None, again)
    assert torch.equal(again, vector)


def test_schema_digest_is_of_the_kind_of_model_not_its_values() -> None:
    digest = VectorSchema.of(mixed(0), momentum=True).digest
    assert digest == VectorSchema.of(mixed(1), momentum=True).digest
    assert len(bytes.fromhex(digest)) == 20


def test_schema_digest_is_the_same_on_every_machine() -> None:
    assert VectorSchema.of(nn.Linear(2, 1), momentum=True).digest == "55b93baee6243b5d0ce3fc688a091f065c4b83b3"


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(nn.Linear(3, 3)),
        nn.Sequential(nn.Linear(3, 2, bias=False)),
        nn.Sequential(nn.Linear(3, 2).double()),
        nn.Sequential(nn.Identity(), nn.Linear(3, 2)),
        nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, affine=False)),
    ],
)
def test_schema_digest_of_another_model_differs(other: nn.Module) -> None:
    own = VectorSchema.of(nn.Sequential(nn.Linear(3, 2)), momentum=True)
    assert VectorSchema.of(other, momentum=True).digest != own.digest


def test_schema_digest_depends_on_momentum_and_integer_buffers() -> None:
    model, counting = nn.Linear(3, 2), nn.Linear(3, 2)
    counting.register_buffer("count", torch.zeros(1, dtype=torch.int64))
    own = VectorSchema.of(model, momentum=True)
    assert VectorSchema.of(model, momentum=False).digest != own.digest
    assert VectorSchema.of(counting, momentum=True).digest != own.digest


@pytest.mark.parametrize("model", [nn.Flatten(), nn.Linear(2, 2).requires_grad_(False)])
def test_schema_of_a_model_without_trainable_parameters_raises(model: nn.Module) -> None:
    with pytest.raises(ConfigError, match="no parameter to train"):
        VectorSchema.of(model, momentum=True)


def test_schema_of_a_complex_model_raises() -> None:
    with pytest.raises(ConfigError, match=r"weight.*complex values cannot be averaged"):
        VectorSchema.of(nn.Linear(2, 2, dtype=torch.complex64), momentum=True)


@given(seed=st.integers(0, 2**32), momentum=st.booleans())
def test_vector_carries_a_state_from_one_peer_to_another(seed: int, momentum: bool) -> None:
    source, target = mixed(seed), mixed(seed + 1)
    for buffer in (source.norm.running_mean, source.norm.running_var):
        assert buffer is not None
        buffer.normal_()
    sender = MomentumSGD(trainable(source), lr=0.1, momentum=0.9)
    receiver = MomentumSGD(trainable(target), lr=0.1, momentum=0.9)
    for parameter in trainable(source):
        # whole numbers: a double would not come through float32 unchanged
        sender.state[parameter]["momentum_buffer"].random_(-99, 99)
    schema = VectorSchema.of(source, momentum=momentum)
    vector = packed(schema, source, sender)
    unpack_(schema, vector, target, receiver)
    for own, other in zip(trainable(source), trainable(target), strict=True):
        assert torch.equal(own, other)
        expected = sender.state[own]["momentum_buffer"] if momentum else torch.zeros_like(own)
        assert torch.equal(receiver.state[other]["momentum_buffer"], expected)
    assert torch.equal(packed(schema, target, receiver), vector)
    assert target.tied.weight is target.first.weight
    assert target.frozen.sum() == 9
    assert target.scratch.sum() == 6


def test_pack_puts_values_where_the_schema_says() -> None:
    model = nn.Linear(2, 1)
    optimizer = MomentumSGD(model.parameters(), lr=0.1, momentum=0.9)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
        model.bias.fill_(3.0)
    optimizer.state[model.weight]["momentum_buffer"].fill_(4.0)
    schema = VectorSchema.of(model, momentum=True)
    assert packed(schema, model, optimizer).tolist() == [1.0, 2.0, 3.0, 4.0, 4.0, 0.0]


def test_unpack_keeps_parameters_trainable_and_in_their_memory() -> None:
    model = nn.Linear(2, 1)
    places = [parameter.data_ptr() for parameter in model.parameters()]
    schema = VectorSchema.of(model, momentum=False)
    unpack_(schema, torch.arange(3.0), model, None)
    assert [parameter.data_ptr() for parameter in model.parameters()] == places
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    assert model.weight.tolist() == [[0.0, 1.0]]


def test_torch_sgd_before_its_first_step_has_zero_momentum_and_takes_one() -> None:
    model = nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=1.0, momentum=0.5)
    schema = VectorSchema.of(model, momentum=True)
    vector = packed(schema, model, optimizer)
    assert vector[3:].tolist() == [0.0, 0.0, 0.0]
    vector[3:] = 8.0
    unpack_(schema, vector, model, optimizer)
    before = model.bias.item()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert model.bias.item() == pytest.approx(before - (0.5 * 8.0 + 1.0))
    assert packed(schema, model, optimizer)[3:].tolist() == [5.0, 5.0, 5.0]


def test_momentum_of_parameters_that_are_not_optimized_is_zero_and_stays_away() -> None:
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    optimizer = SGD(model[0].parameters(), lr=0.1, momentum=0.9)
    schema = VectorSchema.of(model, momentum=True)
    unpack_(schema, torch.ones(schema.length), model, optimizer)
    assert packed(schema, model, optimizer).tolist() == [1.0] * 8 + [0.0] * 2
    assert set(optimizer.state_dict()["state"]) == {0, 1}


def test_optimizer_known_by_the_buffers_it_made_is_taken() -> None:
    model = nn.Linear(2, 1)
    optimizer = RMSprop(model.parameters(), lr=0.1, momentum=0.9)
    schema = VectorSchema.of(model, momentum=True)
    with pytest.raises(ConfigError, match="RMSprop keeps no momentum"):
        packed(schema, model, optimizer)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert packed(schema, model, optimizer)[3:].abs().min() > 0


@pytest.mark.parametrize("kind", ["adam", "plain", "none"])
def test_momentum_wanted_of_an_optimizer_without_any_raises(kind: str) -> None:
    model = nn.Linear(2, 1)
    optimizers = {"adam": Adam(model.parameters()), "plain": SGD(model.parameters(), lr=0.1), "none": None}
    schema = VectorSchema.of(model, momentum=True)
    with pytest.raises(ConfigError, match="use --vector theta"):
        packed(schema, model, optimizers[kind])
    with pytest.raises(ConfigError, match="use --vector theta"):
        unpack_(schema, torch.zeros(schema.length), model, optimizers[kind])
    packed(VectorSchema.of(model, momentum=False), model, optimizers[kind])


@pytest.mark.parametrize(
    ("model", "message"), [(nn.Linear(3, 1), r"weight.*has shape \(1, 3\)"), (nn.Flatten(), "weight.*is not in")]
)
def test_vector_of_another_model_raises(model: nn.Module, message: str) -> None:
    schema = VectorSchema.of(nn.Linear(2, 1), momentum=False)
    with pytest.raises(ConfigError, match=message):
        packed(schema, model, None)
    with pytest.raises(ConfigError, match=message):
        unpack_(schema, torch.zeros(3), model, None)


@pytest.mark.parametrize(
    "vector", [torch.zeros(4), torch.zeros(3, dtype=torch.float64), torch.zeros(1, 3), torch.zeros(3, device="meta")]
)
def test_vector_of_the_wrong_kind_raises(vector: Tensor) -> None:
    model = nn.Linear(2, 1)
    schema = VectorSchema.of(model, momentum=False)
    with pytest.raises(LocalProtocolError, match=r"must be float32 \[3\] on the CPU"):
        pack(schema, model, None, vector)
    with pytest.raises(LocalProtocolError, match=r"must be float32 \[3\] on the CPU"):
        unpack_(schema, vector, model, None)


def test_integer_buffers_are_carried_apart() -> None:
    source, target = mixed(), mixed()
    source.norm(torch.ones(2, 4))
    schema = VectorSchema.of(source, momentum=True)
    assert integer_buffers(schema, source) == (1, 0, 1)
    set_integer_buffers_(schema, target, (0, 1, 2**40))
    assert integer_buffers(schema, target) == (0, 1, 2**40)
    assert target.seen.dtype == torch.bool


@pytest.mark.parametrize("values", [(), (1, 0), (1, 0, 1, 1), (2, 0, 1), (-1, 0, 1), (0, 1, 2**63)])
def test_integer_buffers_that_do_not_fit_change_nothing(values: tuple[int, ...]) -> None:
    model = mixed()
    schema = VectorSchema.of(model, momentum=True)
    with pytest.raises(RemoteProtocolError) as caught:
        set_integer_buffers_(schema, model, values)
    assert caught.value.code == "integer_buffers"
    assert integer_buffers(schema, model) == (1, 0, 0)


def test_private_vector_has_what_no_model_holds() -> None:
    model = nn.Linear(2, 3)
    schema = VectorSchema.of(model, momentum=True, private=True)
    assert [(entry.part, entry.name, entry.offset) for entry in schema.entries] == [
        ("theta", "weight", 0),
        ("theta", "bias", 6),
        ("server", "weight", 9),
        ("server", "bias", 15),
        ("clip", "log_clip", 18),
    ]
    assert (schema.length, schema.theta_length, schema.server_length, schema.clip_at) == (19, 9, 9, 18)
    assert schema.is_private
    assert not schema.has_momentum, "the optimizer's stays at home"
    assert schema.digest != VectorSchema.of(model, momentum=True).digest
    assert VectorSchema.of(model, momentum=False, private=True).length == 10


def test_private_vector_takes_only_theta_from_a_model_and_gives_it_only_that() -> None:
    model = nn.Linear(2, 3)
    optimizer = MomentumSGD(model.parameters(), lr=0.1, momentum=0.9)
    for momentum in optimizer.momenta():
        momentum.fill_(7.0)
    schema = VectorSchema.of(model, momentum=True, private=True)
    vector = torch.full((19,), torch.nan)
    pack(schema, model, optimizer, vector)
    assert vector[9:].tolist() == [0.0] * 10
    unpack_(schema, torch.arange(19.0), model, optimizer)
    assert model.bias.tolist() == [6.0, 7.0, 8.0]
    assert all(bool((momentum == 7.0).all()) for momentum in optimizer.momenta())


def test_what_no_model_holds_has_names_of_its_own() -> None:
    schema = VectorSchema.of(nn.Linear(2, 3), momentum=True, private=True)
    found = agreed_alone(schema, torch.arange(19.0))
    assert {name: tensor.flatten().tolist() for name, tensor in found.items()} == {
        "server/weight": [9.0, 10.0, 11.0, 12.0, 13.0, 14.0],
        "server/bias": [15.0, 16.0, 17.0],
        "clip/log_clip": [18.0],
    }
    plain = VectorSchema.of(nn.Linear(2, 3), momentum=True)
    assert agreed_alone(plain, torch.arange(18.0)) == {}


def test_private_vector_of_a_model_with_buffers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dp-noise.*is a buffer of the model"):
        VectorSchema.of(nn.BatchNorm1d(3), momentum=True, private=True)
