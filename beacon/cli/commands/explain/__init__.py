"""`beacon explain`: show the history of one object, and why no event was sent.

`rendering` is pure; only `live_object` may import `beacon.cluster`, and it is loaded when the ledger knows nothing of
the object. Start reading at `command`.
"""
