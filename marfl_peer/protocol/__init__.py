"""The rules, without I/O: state machines that are fed events and times and return instructions.

Begin with `grid` and `placement` (cells and who plays them), `view` (who counts), then `iteration` (cells walk through
the rounds), `matchmaking` (one line: from being there to a result) and `exchange` (one ballot's all-reduce).
"""
