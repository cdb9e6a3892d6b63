"""Who Beacon is to the API server: a kubeconfig or the pod's service account, loaded by the official client.

Each load gives a configuration of its own; the client's global one is never touched.
"""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from beacon import codec, errors
from beacon.cluster import failures, library

Load = Callable[[], library.Configuration]
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def source(environ: Mapping[str, str], *, connections: int, service_account: Path = SERVICE_ACCOUNT) -> Load:
    """Give the function that reads the credentials anew: KUBECONFIG's, else those of the pod's service account.

    Raises:
        errors.ConfigError: there are no credentials, or the kubeconfig can't be used.
    """
    kubeconfig = environ.get("KUBECONFIG", "")
    if not kubeconfig and library.SERVICE_HOST_ENV_NAME not in environ:
        raise errors.ConfigError(["KUBECONFIG is not set and this is not a pod: there is no API server to watch"])
    if not kubeconfig:
        return _Source("the pod's service account", _from_pod(environ, service_account), connections)
    load = _Source(f"KUBECONFIG {kubeconfig}", _from_file(kubeconfig), connections)
    try:
        load()
    except failures.Unreachable as error:
        raise errors.ConfigError([str(error)]) from error
    return load


class _Source:
    def __init__(self, name: str, fill: Callable[[library.Configuration], None], connections: int) -> None:
        self._name = name
        self._fill = fill
        self._connections = connections

    def __call__(self) -> library.Configuration:
        configuration = library.Configuration()
        try:
            self._fill(configuration)
        except (library.ConfigException, OSError, ValueError, TypeError, AttributeError, LookupError) as error:
            # A kubeconfig of the wrong shape shows as TypeError or AttributeError in the client's loader.
            raise failures.Unreachable(f"{self._name} can't be used: {_one_line(error)}") from error
        configuration.connection_pool_maxsize = self._connections
        configuration.retries = False  # the streams retry, and they say so
        configuration.socket_options = _socket_options()
        _strip_token(configuration)
        return configuration


def _from_file(kubeconfig: str) -> Callable[[library.Configuration], None]:
    load = library.kubeconfig_loader()

    def fill(configuration: library.Configuration) -> None:
        for path in kubeconfig.split(os.pathsep):
            if path and Path(path).is_file():
                codec.load_yaml(Path(path).read_text(encoding="utf-8"))  # says where it is wrong; the client does not
        load(kubeconfig, client_configuration=configuration, persist_config=False)

    return fill


def _from_pod(environ: Mapping[str, str], account: Path) -> Callable[[library.Configuration], None]:
    def fill(configuration: library.Configuration) -> None:
        loader = library.InClusterConfigLoader(  # type: ignore[no-untyped-call]
            token_filename=str(account / "token"), cert_filename=str(account / "ca.crt"), environ=environ
        )
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]

    return fill


def _strip_token(configuration: library.Configuration) -> None:
    """Take a line feed off the token's end, each time the client reads the token anew: it can't stand in a header."""
    loaded: Any = configuration
    refresh: Callable[[library.Configuration], None] | None = loaded.refresh_api_key_hook

    def strip(used: library.Configuration) -> None:
        if refresh is not None:
            refresh(used)
        if token := used.api_key.get("BearerToken"):
            used.api_key["BearerToken"] = token.strip()

    loaded.refresh_api_key_hook = strip


def _socket_options() -> list[tuple[int, int, int]]:
    options: list[tuple[int, int, int]] = list(library.tcp_keepalive_socket_options(idle=30, interval=10, count=3))
    return [*options, (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
