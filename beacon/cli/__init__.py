"""The command line for operators: one module (or package) in `commands/` per command, beside the modules they share.

It may import wire, bus, runtime, configuration and domain; only the modules that query a cluster may import
`beacon.cluster`. Start reading at `__main__`, then `commands.events`.
"""
