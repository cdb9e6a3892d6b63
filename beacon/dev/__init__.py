"""Development tools: an embedded API server, a test endpoint, the demo, the test kit, the configuration's reference.

It may import every other package; no other package may import it, and Beacon's image does not contain it.
Start reading at `testkit`, then `api_server.server` and `endpoint.server`.
"""
