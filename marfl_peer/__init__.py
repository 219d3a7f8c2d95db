"""marfl-peer: peer-to-peer federated learning, Moshpit All-Reduce in a grid, without a server."""

__version__ = "0.1.0"
