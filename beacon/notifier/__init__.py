"""The notifier: it claims what is to be told, sends it to the endpoint, and settles what came of it."""

from beacon import slim

slim.unrun("urllib3.http2")  # which is not used, but asks what is installed: 2 MB
