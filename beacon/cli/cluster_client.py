"""The commands' way to the API server. Importing it costs most of a second: only what asks the cluster imports it."""

import os

from beacon import errors
from beacon.cluster import connection, credentials, discovery
from beacon.domain import rules


def connect() -> connection.Connection:
    """Give a connection with the credentials of KUBECONFIG, else those of the pod.

    Raises:
        errors.ConfigError: there are no credentials, or they can't be used.
    """
    return connection.Connection(credentials.source(os.environ, connections=1))


def find(scope: rules.Scope) -> discovery.ServedResource:
    """Ask the API server for a scope's kind.

    Raises:
        errors.PermanentError: it can't be asked, or does not know the kind; says what helps.
    """
    try:
        return discovery.find(connect(), scope.api_version, scope.id.kind, scope.resource)
    except errors.BeaconError as error:
        raise errors.PermanentError(
            f"its plural is not known: {error}; name it with `resource:` in the configuration, or run this where an"
            " API server that serves it can be reached"
        ) from error
