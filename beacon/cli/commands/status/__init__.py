"""`beacon status`: show the state of the whole Beacon, with its problems first.

`problems` and `rendering` are pure; `collection` queries the store, supervisord, `/ready` and the run directory. Start
reading at `command`.
"""
