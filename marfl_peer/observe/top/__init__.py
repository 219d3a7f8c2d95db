"""A swarm on a terminal: what its peers answered, as rows that can be sorted."""
