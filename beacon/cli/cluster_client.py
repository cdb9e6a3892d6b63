"""The commands' connection to the API server.

Importing it takes most of a second, so only modules that query the cluster import it.
"""

import os

from beacon import errors
from beacon.cli import cluster_choice
from beacon.cluster import connection, credentials, discovery
from beacon.domain import rules


def connect(chosen: cluster_choice.ClusterChoice) -> connection.Connection:
    """Return a connection with the credentials of the kubeconfig, or else those of the pod.

    Raises:
        errors.ConfigError: there are no credentials, or they are not usable.
    """
    environ = chosen.environ(os.environ)
    return connection.Connection(credentials.source(environ, connections=1, context=chosen.context))


def find(scope: rules.Scope, chosen: cluster_choice.ClusterChoice) -> discovery.ServedResource:
    """Look up a scope's kind at the API server.

    Raises:
        errors.PermanentError: the API server is not reachable or does not serve the kind; the message has a remedy.
    """
    try:
        return discovery.find(connect(chosen), scope.api_version, scope.id.kind, scope.resource)
    except errors.BeaconError as error:
        raise errors.PermanentError(
            f"its plural is not known: {error}; set `resource:` in the configuration, or run this where an API server"
            " that serves it is reachable"
        ) from error
