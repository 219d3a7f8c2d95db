"""Other schemes of aggregation, to compare MAR with: the same peers, links and counters."""
