"""The parts of the official client that Beacon uses, without the rest of it: credentials, and the requests' transport.

Its own code runs here unchanged. Only, its packages are not run for the sake of one of their modules, and what just one
kind of kubeconfig needs is imported when one of that kind is met.
"""

import importlib
from collections.abc import Callable
from typing import Any

from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTClientObject
from kubernetes.config.config_exception import ConfigException
from kubernetes.utils.keepalive import tcp_keepalive_socket_options

from beacon import slim

with slim.standing_in({"kubernetes.client": {"Configuration": Configuration}}):
    from kubernetes.config.incluster_config import SERVICE_HOST_ENV_NAME, InClusterConfigLoader

__all__ = [
    "SERVICE_HOST_ENV_NAME",
    "ApiException",
    "ConfigException",
    "Configuration",
    "InClusterConfigLoader",
    "RESTClientObject",
    "kubeconfig_loader",
    "tcp_keepalive_socket_options",
]

# What the client's loader imports for a kubeconfig of OpenID Connect, or for callers that want a whole client.
_SELDOM = {
    "kubernetes.client": {
        "ApiClient": slim.later("kubernetes.client.api_client", "ApiClient"),
        "Configuration": Configuration,
    },
    "oauthlib.oauth2": {},
    "requests_oauthlib": {"OAuth2Session": slim.later("requests_oauthlib", "OAuth2Session")},
}


def kubeconfig_loader() -> Callable[..., Any]:
    """Give the client's `load_kube_config`; a pod does without it."""
    with slim.standing_in(_SELDOM):
        loader: Callable[..., Any] = importlib.import_module("kubernetes.config.kube_config").load_kube_config
    return loader
