"""Who Beacon is to the API server: a kubeconfig or the pod's service account, loaded by the official client.

Each load gives a configuration of its own; the client's global one is never touched.
"""

import os
import socket
from collections.abc import Callable

from kubernetes import client
from kubernetes.config import ConfigException, incluster_config, load_incluster_config, load_kube_config
from kubernetes.utils.keepalive import tcp_keepalive_socket_options

from beacon import errors
from beacon.cluster import failures

Load = Callable[[], client.Configuration]


def source(kubeconfig: str, *, connections: int) -> Load:
    """Give the function that reads the credentials anew; "" means the pod's service account.

    Raises:
        errors.ConfigError: there are no credentials, or the kubeconfig can't be used.
    """
    if not kubeconfig and incluster_config.SERVICE_HOST_ENV_NAME not in os.environ:
        raise errors.ConfigError(["KUBECONFIG is not set and this is not a pod: there is no API server to watch"])
    load = _Source(kubeconfig, connections)
    if kubeconfig:
        try:
            load()
        except failures.Unreachable as error:
            raise errors.ConfigError([str(error)]) from error
    return load


class _Source:
    def __init__(self, kubeconfig: str, connections: int) -> None:
        self._kubeconfig = kubeconfig
        self._connections = connections

    def __call__(self) -> client.Configuration:
        configuration = client.Configuration()
        try:
            if self._kubeconfig:
                load_kube_config(self._kubeconfig, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]
            else:
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError, ValueError, TypeError, AttributeError) as error:
            # A kubeconfig of the wrong shape shows as TypeError or AttributeError in the client's loader.
            where = f"KUBECONFIG {self._kubeconfig}" if self._kubeconfig else "the pod's service account"
            raise failures.Unreachable(f"{where} can't be used: {_one_line(error)}") from error
        configuration.connection_pool_maxsize = self._connections
        configuration.retries = False  # the streams retry, and they say so
        configuration.socket_options = _socket_options()
        return configuration


def _socket_options() -> list[tuple[int, int, int]]:
    options: list[tuple[int, int, int]] = list(tcp_keepalive_socket_options(idle=30, interval=10, count=3))
    return [*options, (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
