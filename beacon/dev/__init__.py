"""What makes Beacon run and show itself without a cluster: an API server, a test endpoint, a demo, a harness for tests.

None of it is part of the product: no process of Beacon imports it, and the image does not hold it.
"""
