"""The effect of each configuration key, in one or two sentences.

The model of the settings does not know effects, so they are written here; type, default and range come from the model.
A test fails if a key has no text, or a text has no key.
"""

from collections.abc import Mapping

EFFECTS: Mapping[str, str] = {
    "app.name": "Name of this Beacon in every log line.",
    "app.version": "Version in the log and in the `User-Agent` header. Empty: the version of Beacon.",
    "app.logLevel": "Lowest level that is logged.",
    "app.logFormat": "`json`: one JSON object per line. `text`: lines for people, with `name=value` for each field; a "
    "value with a blank, a quote, an equals sign or a control character is a JSON string.",
    "app.clusterName": "If set, part of the CloudEvents source: `{source}/{clusterName}/{namespace}/{Kind}`.",
    "resources.apiVersion": "Group and version of the kind, such as `v1`, `apps/v1`, `serving.kserve.io/v1alpha1`.",
    "resources.kind": "Kind to watch, such as `Deployment`. If the cluster does not have it yet, Beacon waits for it.",
    "resources.resource": "Plural of the kind, such as `deployments`. Empty: Beacon asks the API server.",
    "resources.namespaces": "Namespaces to watch, each with a watch of its own. Empty: all namespaces, with one watch.",
    "resources.excludeNamespaces": "Objects in these namespaces are ignored. Not allowed together with `namespaces`.",
    "resources.labelSelector": (
        "Objects whose labels do not match are ignored. If an object ceases to match, a `deleted` event is emitted."
        " Beacon evaluates the selector itself, so it does not reduce the load on the API server."
    ),
    "annotation.key": "Objects with this annotation are tracked; their changes are sent to the endpoint.",
    "annotation.values": "Accepted values of the annotation, compared as text. Empty: any value.",
    "events.updated": "Emit an `updated` event when the value of the annotation changes.",
    "payload.annotations": "Keys of further annotations to include in events. Empty: none.",
    "payload.labels": "Keys of the labels to include in events. Empty: all labels.",
    "cloudEvents.source": "Prefix of the CloudEvents source: `{source}/{namespace}/{Kind}`.",
    "cloudEvents.typePrefix": "Prefix of the CloudEvents type: `{typePrefix}.created`, `.updated`, `.deleted`.",
    "endpoint.name": (
        "Name of the endpoint in the ledger and in metrics. A new name at the same URL keeps the deliveries of the old"
        " name; with another URL it is a new receiver, and the old name keeps its open deliveries."
    ),
    "endpoint.url": (
        "URL that events are sent to; overridden by `ENDPOINT_URL` in the environment. A URL with user and password"
        " is rejected."
    ),
    "endpoint.method": "HTTP method of every request.",
    "endpoint.timeout": "Total deadline of one request, until the last byte of the response.",
    "endpoint.idleTimeout": (
        "A connection idle for longer than this is not reused. Keep it below the idle timeout of load balancers and"
        " proxies between Beacon and the endpoint (usually 60s): some drop connections silently, and the next request"
        " would then fail only after `timeout`."
    ),
    "endpoint.headers": (
        "HTTP headers sent with every request. Their values are masked in all output. Connection headers and `Host`"
        " are rejected, `Content-Type` is ignored."
    ),
    "endpoint.retry.maxAttempts": (
        "Attempts after which the delivery is marked as failed and kept for review. 0: no limit."
    ),
    "endpoint.retry.initialBackoff": "Wait before the first retry.",
    "endpoint.retry.maxBackoff": "Longest wait before a retry, also if `Retry-After` asks for a longer one.",
    "endpoint.retry.backoffMultiplier": "Factor by which the wait grows with each retry.",
    "endpoint.retry.jitter": "Share of the wait by which it varies at random.",
    "endpoint.breaker.failureThreshold": (
        "Number of consecutive outage-like failures, lasting half a second without a proper response, after which the"
        " endpoint counts as down and is only probed. 0: never."
    ),
    "endpoint.breaker.probeInterval": "Interval between probes while the endpoint counts as down.",
    "endpoint.park.enabled": (
        "Stop sending to an endpoint that refuses the events of different objects, and restore what it refused. Off: an"
        " event that is refused has failed."
    ),
    "endpoint.park.after": (
        "Number of different objects in a row whose events must be refused for the first time, without a proper"
        " response for a second. With statuses other than 401 and 407, objects of which the endpoint has accepted"
        " nothing count only if there are 20."
    ),
    "endpoint.park.statuses": "HTTP statuses that count.",
    "endpoint.park.maxProbeInterval": (
        "Longest interval between probes while the endpoint is parked; 30s while an event waits that was never sent."
    ),
    "endpoint.tls.insecureSkipVerify": "Accept any server certificate. Beacon logs a warning.",
    "endpoint.tls.caFile": (
        "Certificate authorities to trust, read again when the file changes. Empty: those of the system."
    ),
    "endpoint.tls.certFile": "Client certificate, read again when the file changes. Requires `keyFile`.",
    "endpoint.tls.keyFile": "Private key of the client certificate.",
    "endpoint.concurrency": "Highest number of requests in flight to this endpoint. 0: `worker.concurrency`.",
    "endpoint.rate": "Highest number of requests a second (token bucket). 0: no limit.",
    "endpoint.proxy.url": (
        "Proxy to this endpoint: `http://`, `https://`, `socks5://` or `socks5h://` (the proxy resolves names), with"
        " host and port, without user and password. Instead of the mapping, `proxy: env` means the proxy of the"
        " environment (`HTTPS_PROXY`, `NO_PROXY`), and `proxy: none` a direct connection."
    ),
    "endpoint.proxy.username": "User of the proxy.",
    "endpoint.proxy.passwordFile": (
        "File with the password of `username`, read again when it changes. Nothing is sent to the endpoint before it"
        " can be read."
    ),
    "endpoint.auth.headerFiles": (
        "Headers added to every request, each with the file that holds its value, such as `X-API-Key: /secrets/key`. "
        "Read again when a file changes; nothing is sent to the endpoint before each can be read."
    ),
    "endpoint.auth.bearer.tokenFile": (
        "File with a token, sent as `Authorization: Bearer`. Read again when it changes; nothing is sent before it can "
        "be read. At most one of `bearer`, `basic` and `oauth2`; none of them beside `ENDPOINT_AUTH_TOKEN*`."
    ),
    "endpoint.auth.basic.username": "User of basic authentication, without a colon.",
    "endpoint.auth.basic.passwordFile": "File with the password of `username`, read again when it changes.",
    "endpoint.auth.oauth2.tokenURL": (
        "Token endpoint of the client credentials grant (RFC 6749, 4.4), reached by the endpoint's `proxy`. The token "
        "is fetched when it is first needed, kept in memory, and renewed after 80 % of its life and after a 401."
    ),
    "endpoint.auth.oauth2.clientID": "The client.",
    "endpoint.auth.oauth2.clientSecretFile": "File with the client's secret, read again when it changes.",
    "endpoint.auth.oauth2.scopes": "Scopes to request.",
    "endpoint.auth.oauth2.params": "Further parameters of the token request, such as `audience`. Not for secrets.",
    "endpoint.auth.oauth2.clientAuth": "Whether id and secret are sent as basic authentication or in the body.",
    "endpoint.auth.oauth2.caFile": "Authorities that the token endpoint's certificate needs. Empty: the system's.",
    "endpoint.auth.oauth2.timeout": "Total deadline of one token request.",
    "endpoint.signing.secretFiles": (
        "Files with secrets of Standard Webhooks, `whsec_` and the base64 of 24 to 64 bytes. Each request has the "
        "headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, with one signature for each secret. Read "
        "again when a file changes; nothing is sent before each can be read."
    ),
    "endpoint.start": (
        "`created`: a new endpoint gets all tracked objects as `created`. `now`: it gets only what changes after its"
        " name appeared."
    ),
    "endpoint.select.kinds": (
        "Kinds to send, as `Kind.group` (`Deployment.apps`), or `Kind` alone in the core group. Empty: all of"
        " `resources`."
    ),
    "endpoint.select.namespaces": "Shell patterns of namespaces, such as `team-*`, case-sensitive. Empty: all.",
    "endpoint.select.names": "Shell patterns of names. Empty: all.",
    "endpoint.select.types": "Event types to send. Empty: all.",
    "endpoint.exclude.kinds": (
        "Kinds not to send. Of `exclude`, all keys that are given must match; it wins over `select`."
    ),
    "endpoint.exclude.namespaces": "Shell patterns of namespaces not to send.",
    "endpoint.exclude.names": "Shell patterns of names not to send.",
    "worker.pollInterval": (
        "Longest delay if a wake-up is lost. Normally the commit of an event wakes the notifier at once."
    ),
    "worker.batchSize": "Highest number of deliveries leased with one claim.",
    "worker.concurrency": "Highest number of requests in flight.",
    "reconciliation.enabled": "Compare the ledger with the cluster periodically and emit events for missed changes.",
    "reconciliation.onStartup": "Compare at startup, too.",
    "reconciliation.interval": "Time from the start of one comparison to the start of the next.",
    "reconciliation.timeout": (
        "Longest wait for the watch to reach the resourceVersion of the list. After that the comparison is"
        " `inconclusive` and nothing is applied. Must be shorter than `interval`."
    ),
    "retention.enabled": "Remove delivered events and old records. If false, rows to remove are only counted.",
    "retention.cleanupInterval": (
        "Time between cleanups. While the volume is above `criticalThreshold`, cleanup runs at once."
    ),
    "retention.retentionPeriod": (
        "How long delivered events and deleted objects are kept. Failed deliveries are not removed."
    ),
    "retention.attemptsPeriod": "How long records of single requests are kept; the last one stays with its delivery.",
    "retention.gapsPeriod": "How long the records of gaps are kept.",
    "retention.failedPeriod": (
        "How long a failed delivery is kept for review. After that the cleaner discards it. 0: for ever."
    ),
    "storage.dbPath": "Absolute path of the database file; overridden by `DB_PATH` in the environment.",
    "storage.volumePath": (
        "Directory on the volume whose usage is monitored. Empty: the directory of the database file."
    ),
    "storage.monitorInterval": "Time between two checks of the volume.",
    "storage.warningThreshold": (
        "Percentage of used bytes or inodes above which a warning is raised. Must be below `criticalThreshold`."
    ),
    "storage.criticalThreshold": "Percentage of used bytes or inodes above which old rows are removed at once.",
    "storage.reserve": (
        "Below this number of free bytes no new events are accepted; recorded events are still delivered."
    ),
    "backup.interval": (
        "Time between two backups: checked copies of the ledger in `backup.path`. 0: no scheduled backups; otherwise"
        " at least 1s."
    ),
    "backup.keep": "Number of backups to keep; after a new one, older ones are removed.",
    "backup.path": (
        "Absolute path of a directory on another volume, for the backups of this Beacon alone. Required by an interval."
    ),
    "metrics.enabled": "Serve metrics.",
    "metrics.port": "Port of the metrics. 0: the default.",
    "metrics.path": "URL path of the metrics.",
    "health.livenessPath": "URL path of the liveness probe.",
    "health.readinessPath": "URL path of the readiness probe.",
    "health.port": "Port of the probes. A second port is opened if it differs from `metrics.port`.",
}
