"""The Kubernetes API as Beacon needs it: credentials, discovery, paged lists, watch lines. Door: kubernetes (urllib3).

Only metadata is asked for, and what is parsed is only what a rule or the payload needs. The official client loads the
credentials and makes the requests; its models and its `Watch` are not used, because they cost thirty times as much
and neither notices a half-open connection nor a truncated line. Nothing here retries, sleeps or decides: every failure
is one of `beacon.cluster.failures`, and what to do about it is the caller's business.
"""

from beacon.cluster import lazy_import

# Run, these packages bring an informer, a dynamic client, OAuth, pydantic and asyncio into every process that asks the
# cluster: 20 MB and half a second. Only modules of them are used; see `beacon.cluster.library`.
lazy_import.defer("kubernetes", "kubernetes.client", "kubernetes.config", "kubernetes.utils")
