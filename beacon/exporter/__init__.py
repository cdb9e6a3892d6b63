"""The exporter process: serves /metrics, /healthz and /ready. It changes nothing.

May import `bus`, `wire`, `domain`, `configuration`, `runtime`, `codec` and `errors`; never another process.
Start reading at `routes.Routes`; `snapshot` gathers the data, `health` derives the checks.
"""
