"""Plans by which local peers are killed, restarted, paused, slowed down and kept away while a swarm runs."""
