"""The rules of Beacon as pure functions: what an observation means, and the values that all processes share.

No clock, no I/O, standard library only; imports nothing of Beacon. Start reading at `transitions`, the table of states,
then `decision` (one observation to the rows it writes) and `rules` (which objects a configuration accepts).
"""
