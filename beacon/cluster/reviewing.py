"""May we? The API server says so itself, for whoever asks; every authenticated account may ask that.

Source: Kubernetes documentation, "Authorization", `SelfSubjectAccessReview`.
"""

import msgspec

from beacon.cluster import connection, failures, parsing

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
        review = _REVIEW.decode(api.post(_PATH, asked))
    except parsing.UNREADABLE as error:
        raise failures.Malformed(f"the API server's answer about a right can't be read: {error}") from error
    if review.kind != "SelfSubjectAccessReview":
        raise failures.Malformed(f"asked about a right the API server sent {review.kind[:60] or 'something else'}")
    return review.status.allowed


class _Status(msgspec.Struct, frozen=True):
    allowed: bool  # the only field of a review's status that is always there


class _Review(msgspec.Struct, frozen=True):
    status: _Status
    kind: str = ""


_REVIEW = msgspec.json.Decoder(_Review)
