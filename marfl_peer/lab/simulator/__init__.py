"""A simulated world for the real code."""
