"""The process that shows what the others do: /metrics, /healthz, /ready. It changes nothing."""
