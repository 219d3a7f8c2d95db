"""Tasks that ship with marfl-peer, and what an own one has to be (`base`)."""
