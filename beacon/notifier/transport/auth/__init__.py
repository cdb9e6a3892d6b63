"""The credentials of the requests to one endpoint, and their signatures.

Start reading at `endpoint_auth.EndpointAuth.check`.
"""
