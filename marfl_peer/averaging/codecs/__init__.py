"""How values are encoded on the wire."""
