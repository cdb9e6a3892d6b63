"""Converts the settings to the configuration of each part of the notifier.

Pure. The parts do not import the settings; each knows only its own configuration.
"""

from beacon.configuration import settings
from beacon.notifier.delivery import breaker, parked, render, retry
from beacon.notifier.delivery import endpoint as delivery
from beacon.notifier.transport import endpoint_proxy, route, tls_context
from beacon.notifier.transport.auth import endpoint_auth


def target_of(tree: settings.Settings, endpoint: settings.EndpointSettings) -> route.Target:
    """Return the target of an endpoint's requests."""
    tls, proxy = endpoint.tls, endpoint.proxy
    return route.Target(
        url=endpoint.url,
        method=endpoint.method,
        agent=f"beacon/{tree.app.version}",
        width=width_of(tree, endpoint),
        idle_timeout_s=endpoint.idle_timeout_s,
        headers=endpoint.headers,
        files=tls_context.TlsFiles(
            ca=tls.ca_file, certificate=tls.cert_file, key=tls.key_file, verify=not tls.insecure_skip_verify
        ),
        auth=auth_of(endpoint),
        token=token_target_of(tree, endpoint),
        proxy=endpoint_proxy.ProxyConfig(url=proxy.url, username=proxy.username, password_file=proxy.password_file),
    )


def token_target_of(tree: settings.Settings, endpoint: settings.EndpointSettings) -> route.TokenTarget | None:
    """Return the target of an endpoint's token requests, if it has a token endpoint."""
    client, proxy = endpoint.auth.oauth2, endpoint.proxy
    if not client.token_url:
        return None
    is_basic = client.client_auth == "basic"
    target = route.Target(
        url=client.token_url,
        method="POST",
        agent=f"beacon/{tree.app.version}",
        width=1,
        idle_timeout_s=endpoint.idle_timeout_s,
        files=tls_context.TlsFiles(ca=client.ca_file),
        proxy=endpoint_proxy.ProxyConfig(url=proxy.url, username=proxy.username, password_file=proxy.password_file),
        auth=endpoint_auth.AuthConfig(
            username=client.client_id,
            password_file=client.client_secret_file,
            password_use=endpoint_auth.PasswordUse.FORM if is_basic else endpoint_auth.PasswordUse.BODY,
            place="auth.oauth2.clientSecretFile",
        ),
        asks_for_token=True,
    )
    return route.TokenTarget(
        target=target,
        client=client.client_id,
        scopes=client.scopes,
        params=client.params,
        timeout_s=client.timeout_s,
    )


def auth_of(endpoint: settings.EndpointSettings) -> endpoint_auth.AuthConfig:
    """Return the configuration of an endpoint's credentials and signatures."""
    auth = endpoint.auth
    return endpoint_auth.AuthConfig(
        token_file=auth.bearer.token_file,
        username=auth.basic.username,
        password_file=auth.basic.password_file,
        header_files=auth.header_files,
        signing_files=endpoint.signing.secret_files,
    )


def config_of(tree: settings.Settings, endpoint: settings.EndpointSettings) -> delivery.EndpointConfig:
    """Return the configuration of an endpoint's deliveries."""
    backoff, worker = endpoint.retry, tree.worker
    return delivery.EndpointConfig(
        endpoint=endpoint.name,
        names=names_of(tree),
        policy=retry.Policy(
            max_attempts=backoff.max_attempts,
            initial_s=backoff.initial_backoff_s,
            max_s=backoff.max_backoff_s,
            multiplier=backoff.backoff_multiplier,
            jitter=backoff.jitter,
        ),
        rules=breaker.BreakerRules(
            threshold=endpoint.breaker.failure_threshold,
            probe_interval_s=endpoint.breaker.probe_interval_s,
            timeout_s=endpoint.timeout_s,
            refusals=frozenset(endpoint.park.statuses) if endpoint.park.enabled else frozenset(),
        ),
        park=parked.ParkingConfig(
            statuses=frozenset(endpoint.park.statuses) if endpoint.park.enabled else frozenset(),
            longest_probe_s=endpoint.park.max_probe_interval_s,
        ),
        width=width_of(tree, endpoint),
        batch=worker.batch_size,
        poll_s=worker.poll_interval_s,
        rate=endpoint.rate,
    )


def names_of(tree: settings.Settings) -> render.Names:
    """Return the parts of the envelope that are the same for every event."""
    return render.Names(
        source=tree.cloud_events.source, cluster=tree.app.cluster_name, type_prefix=tree.cloud_events.type_prefix
    )


def width_of(tree: settings.Settings, endpoint: settings.EndpointSettings) -> int:
    """Return how many requests an endpoint gets at a time."""
    return endpoint.concurrency or tree.worker.concurrency
