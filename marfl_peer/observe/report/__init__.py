"""What became of runs, told and drawn: summaries go in, tables, charts and a page come out. Knows figures only."""
