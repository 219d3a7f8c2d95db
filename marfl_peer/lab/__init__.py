"""Many peers on one machine: processes, their progress, the summary of a run."""
