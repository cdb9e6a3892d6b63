"""The credentials of the requests to one endpoint.

Start reading at `endpoint_auth.EndpointAuth.check`.
"""
