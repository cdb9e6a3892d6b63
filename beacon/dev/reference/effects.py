"""What each key of the configuration effects, in a sentence: what the model of the settings can't know.

Everything else that is said of a key is taken from the model. A key without a sentence, or a sentence without a key,
fails a test.
"""

from collections.abc import Mapping

EFFECTS: Mapping[str, str] = {
    "app.name": "Stands in every line of the log.",
    "app.version": "Stands in the log and in `User-Agent`; the version of Beacon when empty.",
    "app.logLevel": "Lines below this level are not written.",
    "app.logFormat": "One JSON object a line, or text for people.",
    "app.clusterName": "Becomes a part of the CloudEvents source: `{source}/{clusterName}/{namespace}/{Kind}`.",
    "resources.apiVersion": "Group and version of the kind, such as `v1`, `apps/v1`, `serving.kserve.io/v1alpha1`.",
    "resources.kind": "The kind to watch, such as `Deployment`. It may be missing in the cluster: Beacon waits for it.",
    "resources.resource": "The plural, such as `deployments`; asked of the API server when empty.",
    "resources.namespaces": "Only these namespaces are watched, each by a stream of its own; all of them when empty.",
    "resources.excludeNamespaces": "Objects in these namespaces are not told. Only without `namespaces`.",
    "resources.labelSelector": (
        "Only objects whose labels match are told, and one that ceases to match is told as deleted. Beacon evaluates it"
        " itself, so it takes no load off the API server."
    ),
    "annotation.key": "An object that carries this annotation is told.",
    "annotation.values": "Only these values count, compared as text; any value when empty.",
    "events.updated": "Tell `updated` when the annotation's value changes.",
    "payload.annotations": "Keys of further annotations that are sent along; none when empty.",
    "payload.labels": "Keys of the labels that are sent along; all labels when empty.",
    "cloudEvents.source": "Begins the CloudEvents source: `{source}/{namespace}/{Kind}`.",
    "cloudEvents.typePrefix": "Begins the CloudEvents type: `{typePrefix}.created`, `.updated`, `.deleted`.",
    "endpoint.name": (
        "Names the endpoint in the ledger and in metrics, so that its URL may change. Under a new name it gets what is"
        " still open under the old one."
    ),
    "endpoint.url": "Where events are sent. `ENDPOINT_URL` in the environment overrides it. User info is refused.",
    "endpoint.method": "The method of every request.",
    "endpoint.timeout": "Total deadline of one request, however slowly it is answered.",
    "endpoint.idleTimeout": (
        "A connection that was idle for longer is not used again. Keep it below the idle timeout of load balancers and"
        " proxies between Beacon and the endpoint, usually 60s: some drop connections silently, and the next event"
        " would wait for the whole `timeout`."
    ),
    "endpoint.headers": (
        "Sent with every request; values are masked wherever they are shown. Headers of the connection and `Host` are"
        " refused, `Content-Type` is ignored."
    ),
    "endpoint.retry.maxAttempts": "After so many the delivery is kept as failed, for review; 0: no limit.",
    "endpoint.retry.initialBackoff": "How long the first repetition waits.",
    "endpoint.retry.maxBackoff": "The longest wait, and the longest that a `Retry-After` is honoured.",
    "endpoint.retry.backoffMultiplier": "By this the wait grows with each repetition.",
    "endpoint.retry.jitter": "Share of the wait by which it varies at random.",
    "endpoint.breaker.failureThreshold": (
        "After so many outage-like answers in a row the endpoint counts as down and is only probed; 0: never."
    ),
    "endpoint.breaker.probeInterval": "How often one event is tried while the endpoint counts as down.",
    "endpoint.tls.insecureSkipVerify": "Any certificate is taken. It is warned about.",
    "endpoint.tls.caFile": "The authorities to trust, read again when the file changes; the system's when empty.",
    "endpoint.tls.certFile": "The client certificate, read again when it changes. Together with `keyFile`.",
    "endpoint.tls.keyFile": "The key of the client certificate.",
    "worker.pollInterval": "Deliveries are woken by the commit; a wake-up that was lost is made good within this.",
    "worker.batchSize": "How many deliveries are fetched at a time.",
    "worker.concurrency": "How many requests are in flight at a time.",
    "reconciliation.enabled": "Compare ledger and cluster now and then, so that what the watch missed is told.",
    "reconciliation.onStartup": "Compare when Beacon starts, too.",
    "reconciliation.interval": "From the start of one comparison to that of the next.",
    "reconciliation.timeout": (
        "How long the watch may take to come as far as the list; then nothing is compared. Shorter than `interval`."
    ),
    "retention.enabled": "Remove what is settled and old; otherwise it is only counted.",
    "retention.cleanupInterval": "How often. It is done at once while the volume is critically full.",
    "retention.retentionPeriod": "How long delivered events are kept, and objects that are gone. Failed ones stay.",
    "retention.attemptsPeriod": "How long the record of single requests is kept.",
    "retention.gapsPeriod": "How long the record of gaps is kept.",
    "storage.dbPath": "The ledger's file, an absolute path. `DB_PATH` in the environment overrides it.",
    "storage.volumePath": "The volume whose fullness is watched.",
    "storage.monitorInterval": "How often it is looked at.",
    "storage.warningThreshold": "Per cent of bytes or inodes that raise a warning. Below `criticalThreshold`.",
    "storage.criticalThreshold": "Per cent of bytes or inodes at which the ledger is cleaned at once.",
    "storage.reserve": "New events are refused when fewer bytes are free; what is written goes on being delivered.",
    "metrics.enabled": "Serve metrics.",
    "metrics.port": "Where metrics are served; 0 means the default.",
    "metrics.path": "Under which path.",
    "health.livenessPath": "Path of the liveness probe.",
    "health.readinessPath": "Path of the readiness probe.",
    "health.port": "Where probes are served: a port of its own when it differs from `metrics.port`.",
}
