import torch

from marfl_peer.config import Settings
from marfl_peer.lab.bench.task import BenchTask
from marfl_peer.peer.outfit import outfit_of, trainer_for


def test_vector_is_theta_and_momentum_of_equal_length() -> None:
    task = BenchTask(12, 3)
    outfit = outfit_of(task, Settings(shards=3))
    assert (outfit.schema.length, outfit.schema.theta_length) == (24, 12)
    assert [trainer_for(task, Settings(shards=3), shard=shard, data=None).samples for shard in range(3)] == [1, 1, 1]


def test_task_could_be_trained_and_tested() -> None:
    task = BenchTask(4, 2)
    data = task.load(None)
    outputs = task.build_model()(task.prepare(data.train_inputs))
    assert float(task.loss(outputs, data.train_labels).detach()) == 0.0
    assert torch.equal(task.correct(outputs, data.train_labels), torch.zeros(()))
