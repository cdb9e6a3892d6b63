"""The Status bodies in which an API server says no, word for word.

Clients match on reasons and messages, so they are made in one place. Nothing here knows a request or a socket.
"""

from typing import Any

Json = dict[str, Any]

CONTINUATION_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class ApiError(Exception):
    """A request that is answered with a Status of kind Failure."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Json | None = None,
        metadata: Json | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """Keep what the Status will say; `retry_after_s` becomes a header too."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata = metadata or {}
        self.retry_after_s = retry_after_s

    def body(self) -> Json:
        """Render the Status in the field order of the real server."""
        status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure"}
        status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        details = dict(self.details) if self.details is not None else None
        if self.retry_after_s is not None:
            details = {**(details or {}), "retryAfterSeconds": self.retry_after_s}
        if details is not None:
            status["details"] = details
        status["code"] = self.code
        return status


def of_resource(group: str, plural: str, name: str = "", **more: Any) -> Json:
    """Name a resource the way `details` does, where the kind is really the plural."""
    details: Json = {"name": name} if name else {}
    if group:
        details["group"] = group
    return {**details, "kind": plural, **more}


def qualified(group: str, plural: str) -> str:
    """Return `deployments.apps`, or just `pods` for the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> ApiError:
    """Say that an object is not there."""
    message = f'{qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=of_resource(group, plural, name))


def no_such_resource() -> ApiError:
    """Say that the group is served but the resource is not."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """Say that a name is taken."""
    message = f'{qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=of_resource(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    """Say that the writer's view is outdated, or that a precondition failed."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=of_resource(group, plural, name))


def invalid(
    group: str, kind: str, name: str, field: str, problem: str, *, cause: str = "FieldValueInvalid"
) -> ApiError:
    """Say which field of an object can't be accepted."""
    details = of_resource(group, kind, name, causes=[{"reason": cause, "message": problem, "field": field}])
    shown = f"{kind}.{group}" if group else kind
    return ApiError(422, "Invalid", f'{shown} "{name}" is invalid: {field}: {problem}', details=details)


def bad_request(message: str) -> ApiError:
    """Say that the request can't be understood."""
    return ApiError(400, "BadRequest", message)


def bad_position(text: str) -> ApiError:
    """Say that a resourceVersion is not a number; the real server calls that its own failure."""
    message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
    return ApiError(500, "", message)


def future_position(asked: int, current: int) -> ApiError:
    """Say that a list was asked for at a resourceVersion that has not happened."""
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, details={"causes": causes}, retry_after_s=1)


def expired(message: str, *, token: str = "") -> ApiError:
    """Say that a position is no longer known; `token` is the way on for a list."""
    return ApiError(410, "Expired", message, metadata={"continue": token} if token else None)


def too_old(asked: int, floor: int) -> ApiError:
    """Say that a watch can't be resumed from there."""
    return expired(f"too old resource version: {asked} ({floor})")


def unauthorized() -> ApiError:
    """Say that a token is unknown."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    """Say that the path exists but not this method."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def not_acceptable(message: str = "") -> ApiError:
    """Say that none of the asked-for forms can be produced."""
    accepted = (
        "application/json, application/json;as=PartialObjectMetadata, application/json;as=PartialObjectMetadataList"
    )
    return ApiError(406, "NotAcceptable", message or f"only the following media types are accepted: {accepted}")


def unsupported_media_type(accepted: str) -> ApiError:
    """Say which forms of body are understood."""
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return ApiError(415, "UnsupportedMediaType", message)


def too_many_requests(retry_after_s: int) -> ApiError:
    """Say that the client should come back later."""
    message = "the server has received too many requests and has asked us to try again later"
    return ApiError(429, "TooManyRequests", message, retry_after_s=retry_after_s)


def deleted(group: str, plural: str, name: str, uid: str) -> Json:
    """Render the Status that answers a DELETE which is done."""
    details = {**of_resource(group, plural, name), "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
