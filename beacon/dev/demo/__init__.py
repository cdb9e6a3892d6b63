"""The demo, `make run`: shows Beacon at work, on an embedded cluster or on the user's.

It starts the components as processes, prints its steps and each notification as the endpoint recorded it, and removes
everything at the end. It may import all of `beacon.dev` and the configuration; it must not replace tests. Start reading
at `scenario`, then `tour`.
"""
