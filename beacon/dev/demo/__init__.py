"""`make run`: Beacon at work before somebody's eyes, on a cluster of its own or on theirs.

It starts what it needs as processes, tells in plain sentences what it does, shows each notification as the receiver
recorded it, and leaves nothing behind. It judges nothing that tests should: it only says when something did not come.
"""
