"""The eyes: facts become metrics, health, a journal and log lines. Knows facts, never the peer."""
