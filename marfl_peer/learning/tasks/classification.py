"""Loss and metric that tasks with one class a sample share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


class Classification:
    """Cross entropy over logits [b, classes]; right is a sample whose highest logit is its label's."""

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels)

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.argmax(dim=1) == labels).sum()
