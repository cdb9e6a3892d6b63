"""An embedded Kubernetes API server for tests, demos and benchmarks, verified against recordings of a real one.

It serves TLS, tokens and RBAC, and can inject the failures of a real kube-apiserver. It may import `beacon.codec`,
`beacon.errors` and third-party libraries; no process of Beacon may import it. Start reading at `server` (the Python
interface), then `app` (the path of a request) and `state` (the storage).
"""
