"""The runtime shared by all processes: signals, heartbeats, the run directory, supervision, log, metrics.

May import `bus`, `wire`, `configuration`, `boundary`, `domain`, `codec`, `errors`; never a process. Start reading at
`process.run`.
"""
