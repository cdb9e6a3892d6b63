"""The Kubernetes API as Beacon needs it: credentials, discovery, paged lists, watch lines. Door: kubernetes (urllib3).

Only metadata is asked for, and what is parsed is only what a rule or the payload needs. The official client loads the
credentials and makes the requests; its models and its `Watch` are not used, because they cost thirty times as much
and neither notices a half-open connection nor a truncated line. Nothing here retries, sleeps or decides: every failure
is one of `beacon.cluster.failures`, and what to do about it is the caller's business.
"""
