"""Checks whether Beacon's credentials have a right, by a `SelfSubjectAccessReview`.

Every authenticated account may create one. Source: Kubernetes documentation, "Authorization".
"""

import msgspec

from beacon.cluster import connection, failures, parsing

_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def allowed(
    api: connection.Connection, verb: str, *, group: str, resource: str, namespace: str = "", name: str = ""
) -> bool:
    """Return True if these credentials have a right; `namespace` "" means all namespaces, `name` "" any object.

    Raises:
        failures.ApiRefused: the API server rejects the request.
        failures.Unreachable, failures.Malformed: see there.
    """
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name}
    review_request = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    try:
        review = _REVIEW.decode(api.post(_PATH, review_request))
    except parsing.UNREADABLE as error:
        raise failures.Malformed(f"the API server's response to an access review can't be read: {error}") from error
    if review.kind != "SelfSubjectAccessReview":
        raise failures.Malformed(
            f"the API server responded to an access review with {review.kind[:60] or 'something else'}"
        )
    return review.status.allowed


class _Status(msgspec.Struct, frozen=True):
    allowed: bool  # the only field of a review's status that is always there


class _Review(msgspec.Struct, frozen=True):
    status: _Status
    kind: str = ""


_REVIEW = msgspec.json.Decoder(_Review)
