"""How the contributions to an average are combined."""
