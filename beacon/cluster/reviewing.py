"""May we? The API server says so itself, for whoever asks; every authenticated account may ask that.

Source: Kubernetes documentation, "Authorization", `SelfSubjectAccessReview`.
"""

import msgspec

from beacon.cluster import connection, failures

_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def allowed(
    api: connection.Connection, verb: str, *, group: str, resource: str, namespace: str = "", name: str = ""
) -> bool:
    """Ask whether these credentials may do that; `namespace` "" is all of them, `name` "" is any object.

    Raises:
        failures.Refused: the API server does not answer the question.
        failures.Unreachable, failures.Malformed: see there.
    """
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name}
    asked = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    try:
        return _REVIEW.decode(api.post(_PATH, asked)).status.allowed
    except msgspec.DecodeError as error:
        raise failures.Malformed(f"the API server's answer about a right can't be read: {error}") from error


class _Status(msgspec.Struct, frozen=True):
    allowed: bool = False


class _Review(msgspec.Struct, frozen=True):
    status: _Status = _Status()


_REVIEW = msgspec.json.Decoder(_Review)
