"""The Status documents of an API server's errors, word for word.

Clients match on reasons and messages, so they are built in one place. This module must not know requests or sockets.
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
        """Set the fields of the Status; `retry_after_s` also becomes a header."""
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
    """Return the `details` of a resource; their field `kind` holds the plural."""
    details: Json = {"name": name} if name else {}
    if group:
        details["group"] = group
    return {**details, "kind": plural, **more}


def qualified(group: str, plural: str) -> str:
    """Return `deployments.apps`, or only `pods` for the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> ApiError:
    """Return the error for an object that does not exist."""
    message = f'{qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=of_resource(group, plural, name))


def no_such_resource() -> ApiError:
    """Return the error for a resource that is not served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """Return the error for a name that is already in use."""
    message = f'{qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=of_resource(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    """Return the error for an outdated resourceVersion or a failed precondition."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=of_resource(group, plural, name))


def invalid(
    group: str, kind: str, name: str, field: str, problem: str, *, cause: str = "FieldValueInvalid"
) -> ApiError:
    """Return the error for an invalid field of an object."""
    details = of_resource(group, kind, name, causes=[{"reason": cause, "message": problem, "field": field}])
    shown = f"{kind}.{group}" if group else kind
    return ApiError(422, "Invalid", f'{shown} "{name}" is invalid: {field}: {problem}', details=details)


def bad_request(message: str) -> ApiError:
    """Return the error for a malformed request."""
    return ApiError(400, "BadRequest", message)


def bad_position(text: str) -> ApiError:
    """Return the error for a resourceVersion that is not a number; the real server answers 500."""
    message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
    return ApiError(500, "", message)


def future_position(asked: int, current: int) -> ApiError:
    """Return the error for a list at a future resourceVersion."""
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, details={"causes": causes}, retry_after_s=1)


def expired(message: str, *, token: str = "") -> ApiError:
    """Return the error for a compacted resourceVersion; a list can be continued with `token`."""
    return ApiError(410, "Expired", message, metadata={"continue": token} if token else None)


def too_old(asked: int, floor: int) -> ApiError:
    """Return the error for a watch from a resourceVersion that is too old."""
    return expired(f"too old resource version: {asked} ({floor})")


def unauthorized() -> ApiError:
    """Return the error for an unknown token."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    """Return the error for a method that the path does not support."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def not_acceptable(message: str = "") -> ApiError:
    """Return the error for a request that accepts no supported form."""
    accepted = (
        "application/json, application/json;as=PartialObjectMetadata, application/json;as=PartialObjectMetadataList"
    )
    return ApiError(406, "NotAcceptable", message or f"only the following media types are accepted: {accepted}")


def unsupported_media_type(accepted: str) -> ApiError:
    """Return the error for an unsupported content type of a body."""
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return ApiError(415, "UnsupportedMediaType", message)


def too_many_requests(retry_after_s: int) -> ApiError:
    """Return the error that asks the client to retry later."""
    message = "the server has received too many requests and has asked us to try again later"
    return ApiError(429, "TooManyRequests", message, retry_after_s=retry_after_s)


def deleted(group: str, plural: str, name: str, uid: str) -> Json:
    """Return the Status of a completed DELETE."""
    details = {**of_resource(group, plural, name), "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
