"""How much longer than given a wait of `beacon.dev` may take before it is called in vain.

The limits stand for a quick machine with nothing else to do. Tests run on others, too, and raise the factor: a wait
that succeeds takes no longer for it.
"""

factor = 1.0
