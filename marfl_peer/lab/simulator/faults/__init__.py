"""What can go wrong in a simulated world, on purpose.

plan      the faults of a run, as values: read from a file, or drawn from a seed
"""
