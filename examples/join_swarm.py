"""Joins a running swarm with a training loop and data of one's own. The swarm's settings come from the swarm.

marfl-peer join --iterations 3000                 a swarm that learns digits, so far of one peer
python examples/join_swarm.py 127.0.0.1:7700      in another terminal: the second peer
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from marfl_peer.config import Settings
from marfl_peer.peer.blocking import BlockingPeer

MEAN, STD = 4.884, 6.017
"""The task's: its peers must see their inputs alike."""


def own_images() -> TensorDataset:
    """200 digits that this peer owns; only what was learned from them leaves it."""
    images, labels = load_digits().images[:200], load_digits().target[:200]
    pixels = (torch.from_numpy(images).float().unsqueeze(1) - MEAN) / STD
    return TensorDataset(pixels, torch.from_numpy(labels))


def main(address: str, state_dir: str) -> None:
    batches = DataLoader(own_images(), batch_size=20, shuffle=True)
    with BlockingPeer(Settings(bootstrap=(address,), port=0, state_dir=Path(state_dir))) as peer:
        while not peer.is_over:
            for images, labels in batches:
                peer.optimizer.zero_grad()
                cross_entropy(peer.model(images), labels).backward()
                peer.optimizer.step()
            outcome = peer.aggregate(peer.model, peer.optimizer, samples=200)
            print(f"iteration {outcome.iteration}: {outcome.peers} peers, accuracy {outcome.test_accuracy}")


if __name__ == "__main__":
    main(sys.argv[1], state_dir="marfl-state/join-swarm")
