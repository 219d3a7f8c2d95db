"""An experiment a module: its runs as data, and what their figures say. Pure."""
