"""The rules of Beacon as pure functions: the meaning of an observation, and the types that all processes share.

No clock, no I/O, standard library only; imports nothing of Beacon. Start reading at `transitions`, the state table,
then `decision` (from one observation to the rows to write) and `rules` (which objects a configuration accepts).
"""
