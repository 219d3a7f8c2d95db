"""Differential privacy: what of an update leaves a peer, how much noise is on it, and what that adds up to."""
