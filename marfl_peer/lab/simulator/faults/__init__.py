"""What can go wrong in a simulated world, on purpose.

triggers   when a fault comes: at a time, at a frame, at a fact
plan       the faults of a run, as values
reading    a plan from a TOML file
drawing    a whole scenario from a seed
aiming     faults at steps that are seldom come to, and what provokes those
directed   one scenario for each kind of trouble, by name
exhaustive a crash at every boundary between two messages
injector   makes a plan's faults happen in a simulation: `roles` finds whom they befall, `tap` sees the frames of a
           connection (cut from the stream by `cutting`), `tampering` rewrites them
"""
