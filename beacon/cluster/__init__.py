"""The client of the Kubernetes API: credentials, discovery, paged lists, watches. The only user of `kubernetes`.

May import `boundary`, `codec`, `domain` and `errors`; it never retries, sleeps or decides: every failure is a class of
`failures`, and the caller reacts to it. Start reading at `lists.pages` and `watching.start`.

Beacon requests only metadata, and parses only the fields that a rule or the payload needs. The official client sends
the requests; its models and its `Watch` are not used, because they cost thirty times as much and detect neither a
half-open connection nor a truncated line.
"""

from beacon.boundary import lazy_import

# If run, these packages import an informer, a dynamic client, OAuth, pydantic and asyncio into every process that uses
# the API: 20 MB and half a second. Beacon uses only single modules of them; see `beacon.cluster.library`.
lazy_import.defer("kubernetes", "kubernetes.client", "kubernetes.config", "kubernetes.utils")
