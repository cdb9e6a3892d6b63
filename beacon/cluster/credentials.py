"""The credentials that Beacon presents to the API server: those of a kubeconfig, or the pod's service account.

Each load reads all files again and returns an immutable `Access`. The environment's proxies apply to the endpoint only:
the API server is reached directly, or through the kubeconfig's `proxy-url`.
"""

import base64
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from beacon import errors
from beacon.boundary import files, proxies, secret, tls
from beacon.cluster import failures, kubeconfig, plugin

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOST = "KUBERNETES_SERVICE_HOST"
_PORT = "KUBERNETES_SERVICE_PORT"
_HEADER_KEY = "!#$&'*+^`|"  # with letters, digits and _.-~: the characters that client-go keeps in Impersonate-Extra-
_SHARE_OF_LIFE = 0.8

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The server's address, its TLS context and the credentials. `renew_at` and `expires_at` are in Unix time."""

    server: str
    context: ssl.SSLContext
    account: str = "the user of the kubeconfig"  # whose credentials these are, for messages
    authorities: str = "configured authorities"  # where the trusted ones were read, for messages
    server_name: str = ""
    proxy: proxies.Proxy | None = None
    headers: Headers = field(default=(), repr=False)
    connections: int = 1
    files: Mapping[str, object] = field(default_factory=dict)
    renew_at: float | None = None
    expires_at: float | None = None

    def is_stale(self) -> bool:
        """Return True if a reload is due: a file was replaced since, or the credentials are about to expire."""
        due = self.renew_at is not None and time.time() >= self.renew_at
        return due or any(_signature(path) != known for path, known in self.files.items())

    def has_expired(self) -> bool:
        """Return True if the credentials must not be used any longer."""
        return self.expires_at is not None and time.time() >= self.expires_at


Load = Callable[[], Access]


def source(
    environ: Mapping[str, str], *, connections: int, service_account: Path = SERVICE_ACCOUNT, context: str = ""
) -> Load:
    """Return the function that loads the credentials: KUBECONFIG's, else those of the pod's service account.

    `context` is a context of the kubeconfig, chosen in place of its current one.

    Raises:
        errors.ConfigError: there are no credentials, or the kubeconfig can't be used.
    """
    paths = environ.get("KUBECONFIG", "")
    if paths:
        _check(paths, context)
        return lambda: _reading(lambda: _from_file(paths, context, environ, connections))
    if context:
        raise errors.ConfigError([f"there is no kubeconfig with a context {context!r}: set KUBECONFIG"])
    if _HOST not in environ:
        raise errors.ConfigError(["KUBECONFIG is not set and this is not a pod: there is no API server to watch"])
    return lambda: _reading(lambda: _from_pod(environ, service_account, connections))


def _check(paths: str, context: str) -> None:
    """Reject at start what only an operator can fix. A plugin or a token file may fail now and work later.

    Raises:
        errors.ConfigError: the kubeconfig or a file that it names can't be used.
    """
    chosen = kubeconfig.read(paths, context)
    try:
        _reach(chosen)
        _password(chosen)
        if not chosen.user.token_file:
            _token(chosen)
        if not chosen.user.exec:
            _identify(tls.bare(), chosen)
        _impersonation(chosen.user)
    except errors.TransientError as error:
        raise errors.ConfigError([f"KUBECONFIG {paths} can't be used: {error}"]) from error
    except errors.ConfigError as error:
        raise errors.ConfigError(
            [f"KUBECONFIG {paths} can't be used: {problem}" for problem in error.problems]
        ) from error


def _reading(load: Load) -> Access:
    try:
        return load()
    except failures.Unreachable:
        raise
    except errors.BeaconError as error:
        raise failures.Unreachable(str(error)) from error


def _from_pod(environ: Mapping[str, str], account: Path, connections: int) -> Access:
    host, port = environ.get(_HOST, ""), environ.get(_PORT, "")
    if not host or not port:
        raise errors.TransientError(f"the pod's service account can't be used: {_HOST} or {_PORT} is empty")
    token, authorities = str(account / "token"), str(account / "ca.crt")
    known = {path: _signature(path) for path in (token, authorities)}
    context = _context(verify=True)
    tls.trust_file(context, authorities)
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        context=context,
        account="the service account",
        authorities=authorities,
        headers=(_authorization("Bearer " + secret.read_token(token, "the service account's token")),),
        connections=connections,
        files=known,
    )


def _from_file(paths: str, named: str, environ: Mapping[str, str], connections: int) -> Access:
    chosen = kubeconfig.read(paths, named)
    user, cluster = chosen.user, chosen.cluster
    known = {path: _signature(path) for path in _files_of(chosen)}
    server, context, proxy = _reach(chosen)
    token = _token(chosen)
    issued = None
    if user.exec and not token:
        issued = plugin.run(_plugin(chosen, server), environ)
        if issued.pem:
            tls.identify_by(context, issued.pem.encode(), "the certificate of the exec plugin")
        token = issued.token
    if not (issued and issued.pem):
        _identify(context, chosen)
    authorization = f"Bearer {token}" if token else _password(chosen)
    expires_at = issued.expires_at if issued else None
    return Access(
        server=server,
        context=context,
        authorities=_authorities(cluster),
        server_name=cluster.tls_server_name,
        proxy=proxy,
        headers=((_authorization(authorization),) if authorization else ()) + _impersonation(user),
        connections=connections,
        files=known,
        renew_at=_renewal(expires_at),
        expires_at=expires_at,
    )


def _reach(chosen: kubeconfig.Chosen) -> tuple[str, ssl.SSLContext, proxies.Proxy | None]:
    """Return the server's URL, a context that trusts it, and the proxy."""
    cluster = chosen.cluster
    server = _server(cluster.server)
    context = _context(verify=not cluster.insecure_skip_tls_verify)
    if not server.startswith("https:"):
        pass
    elif cluster.certificate_authority_data:
        pem = _decoded(cluster.certificate_authority_data, "certificate-authority-data")
        tls.trust_text(context, pem.decode("ascii", "ignore"), "certificate-authority-data")
    elif cluster.certificate_authority:
        tls.trust_file(context, _located(cluster.base, cluster.certificate_authority))
    else:
        tls.trust_system(context)
    return server, context, proxies.parse(cluster.proxy_url, "proxy-url") if cluster.proxy_url.strip() else None


def _authorities(cluster: kubeconfig.KubeconfigCluster) -> str:
    if cluster.certificate_authority_data:
        return "certificate-authority-data in the kubeconfig"
    return _located(cluster.base, cluster.certificate_authority) or "the authorities of the system"


def _context(*, verify: bool) -> ssl.SSLContext:
    context = tls.bare(verify=verify)
    context.hostname_checks_common_name = False  # as kubectl, which checks only the subject alternative names
    return context


def _authorization(value: str) -> tuple[str, str]:
    return "Authorization", _header(value)


def _header(value: str) -> str:
    """Return a value whose bytes are sent as UTF-8: `http.client` encodes headers as Latin-1."""
    return value.encode().decode("latin-1")


def _server(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise errors.ConfigError(
            ["the cluster's server must be a URL such as https://host:6443, without user or query"]
        )
    return parts.geturl().rstrip("/")


def _identify(context: ssl.SSLContext, chosen: kubeconfig.Chosen) -> None:
    """Present the user's client certificate, if there is one; data comes before a file."""
    user = chosen.user
    if not user.client_certificate and not user.client_certificate_data:
        return
    if not user.client_certificate_data and not user.client_key_data:
        tls.identify(context, _located(user.base, user.client_certificate), _located(user.base, user.client_key))
        return
    pair = [
        _content(user.base, user.client_certificate, user.client_certificate_data, "client-certificate"),
        _content(user.base, user.client_key, user.client_key_data, "client-key"),
    ]
    tls.identify_by(context, b"\n".join(pair), f"the client certificate of user {chosen.user_name!r}")


def _token(chosen: kubeconfig.Chosen) -> str:
    """Return the token, "" if there is none; tokenFile takes precedence over token, as documented for kubectl."""
    user, name = chosen.user, f"user {chosen.user_name!r}"
    if user.token_file:
        return secret.read_token(_located(user.base, user.token_file), f"the tokenFile of {name}")
    return secret.token(user.token, f"the token of {name} in the kubeconfig") if user.token else ""


def _password(chosen: kubeconfig.Chosen) -> str:
    user, name = chosen.user, f"of user {chosen.user_name!r} in the kubeconfig"
    if not user.username and not user.password:
        return ""
    pair = [secret.without_newline(user.username, f"the username {name}")]
    pair += [secret.without_newline(user.password, f"the password {name}")]
    return "Basic " + base64.b64encode(":".join(pair).encode()).decode()


def _impersonation(user: kubeconfig.KubeconfigUser) -> Headers:
    """Return the headers for `as`, `as-uid`, `as-groups` and `as-user-extra`, in UTF-8 as kubectl sends them."""
    pairs = [("Impersonate-User", user.as_user), ("Impersonate-Uid", user.as_uid)]
    pairs += [("Impersonate-Group", group) for group in user.as_groups]
    for key, values in user.as_user_extra.items():
        pairs += [(f"Impersonate-Extra-{quote(key.lower(), safe=_HEADER_KEY)}", value) for value in values]
    return tuple(
        (name, _header(secret.token(value, f"`as` in the kubeconfig ({name})"))) for name, value in pairs if value
    )


def _plugin(chosen: kubeconfig.Chosen, server: str) -> plugin.Plugin:
    config, base = chosen.user.exec, chosen.user.base
    assert config is not None  # noqa: S101  checked by the caller
    return plugin.Plugin(
        command=_located(base, config.command) if os.sep in config.command else config.command,
        args=tuple(config.args),
        env={each.name: each.value for each in config.env},
        api_version=config.api_version,
        hint=config.install_hint,
        name=f"the exec plugin {Path(config.command).name!r} of user {chosen.user_name!r}",
        cluster=_cluster_info(chosen.cluster, server) if config.provide_cluster_info else None,
    )


def _cluster_info(cluster: kubeconfig.KubeconfigCluster, server: str) -> Mapping[str, object]:
    """Return the object `Cluster` of client.authentication.k8s.io, for a plugin with provideClusterInfo."""
    authorities = cluster.certificate_authority_data
    if not authorities and cluster.certificate_authority:
        authorities = base64.b64encode(_content(cluster.base, cluster.certificate_authority, "", "")).decode()
    info = {
        "server": server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": authorities,
        "proxy-url": cluster.proxy_url,
        "config": kubeconfig.extension(cluster, "client.authentication.k8s.io/exec"),
    }
    return {name: value for name, value in info.items() if value}


def _files_of(chosen: kubeconfig.Chosen) -> list[str]:
    user, cluster = chosen.user, chosen.cluster
    found = [] if cluster.certificate_authority_data else [(cluster.base, cluster.certificate_authority)]
    found += [] if user.client_certificate_data else [(user.base, user.client_certificate)]
    found += [] if user.client_key_data else [(user.base, user.client_key)]
    found += [(user.base, user.token_file)]
    return [_located(base, path) for base, path in found if path]


def _content(base: str, path: str, data: str, name: str) -> bytes:
    if data:
        return files.without_mark(_decoded(data, f"{name}-data"))
    located = _located(base, path)
    try:
        return files.without_mark(files.read(located, most_bytes=files.CERTIFICATES_BYTES))
    except OSError as error:
        raise errors.TransientError(f"{located} can't be read: {error.strerror}") from error


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise errors.TransientError(f"{name} is not Base64") from error


def _located(base: str, path: str) -> str:
    return os.path.normpath(Path(base, path)) if path else ""


def _signature(path: str) -> object:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _renewal(expires_at: float | None) -> float | None:
    now = time.time()
    return None if expires_at is None else now + _SHARE_OF_LIFE * (expires_at - now)
