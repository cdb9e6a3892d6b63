"""An embedded Kubernetes API server, faithful enough that a client can't tell: for tests, demos and benchmarks.

It answers what a real kube-apiserver was recorded answering, over TLS and with tokens, and can be made to fail in the
ways that a real one fails. It is no part of the product: nothing in Beacon's processes may import it.
"""
