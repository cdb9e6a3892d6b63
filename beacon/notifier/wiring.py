"""The settings as the notifier's parts want them. Pure; each part knows only its own terms, none the settings."""

from beacon.configuration import settings
from beacon.notifier import breaker, dispatch, http_sender, render, retry, tls_context


def target_of(tree: settings.Settings) -> http_sender.Target:
    """Say where requests go."""
    given = tree.endpoint
    tls = given.tls
    return http_sender.Target(
        url=given.url,
        method=given.method,
        agent=f"beacon/{tree.app.version}",
        width=tree.worker.concurrency,
        idle_timeout_s=given.idle_timeout_s,
        headers=given.headers,
        files=tls_context.TlsFiles(
            ca=tls.ca_file, certificate=tls.cert_file, key=tls.key_file, verify=not tls.insecure_skip_verify
        ),
    )


def terms_of(tree: settings.Settings) -> dispatch.DispatcherConfig:
    """Say how to deliver."""
    given, again, worker = tree.endpoint, tree.endpoint.retry, tree.worker
    names = render.Names(
        source=tree.cloud_events.source, cluster=tree.app.cluster_name, type_prefix=tree.cloud_events.type_prefix
    )
    return dispatch.DispatcherConfig(
        endpoint=given.name,
        names=names,
        policy=retry.Policy(
            max_attempts=again.max_attempts,
            initial_s=again.initial_backoff_s,
            max_s=again.max_backoff_s,
            multiplier=again.backoff_multiplier,
            jitter=again.jitter,
        ),
        rules=breaker.BreakerRules(
            threshold=given.breaker.failure_threshold,
            probe_interval_s=given.breaker.probe_interval_s,
            timeout_s=given.timeout_s,
        ),
        width=worker.concurrency,
        batch=worker.batch_size,
        poll_s=worker.poll_interval_s,
    )
