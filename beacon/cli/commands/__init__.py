"""The commands, one module or package each, loaded by `cli/__main__.py` when they are called.

A command may import the shared modules of `beacon.cli`, never another command. Start reading at `events.command`.
"""
