"""The door: settings and commands, without logic."""
