"""The model: tasks and their data, partitions, the optimizer, the local update. Knows of no network."""
