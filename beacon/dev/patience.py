"""Factor by which every timeout of `beacon.dev` is multiplied.

The timeouts fit a fast, idle machine. Tests raise the factor on slower ones; a wait that succeeds does not take longer.
"""

factor = 1.0
