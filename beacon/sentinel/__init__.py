"""The sentinel process: kills hung processes, delays programs that keep dying, ends the pod if a program can't start.

May import `runtime`, `boundary`, `domain` (instants) and `errors`, and no third-party library.
Start reading at `supervisor_monitor.SupervisorMonitor.run`, then `decisions`.
"""
