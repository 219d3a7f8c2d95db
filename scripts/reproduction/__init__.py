"""What `scripts/reproduce` does: the paper's experiments as data, the runs of their commands, and the page that is made
of what these left as files. No figure comes from anywhere else."""
