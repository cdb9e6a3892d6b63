"""The failures of requests to the API server.

Messages are sentences for an operator. No exception of another library leaves this package.
"""

from beacon import errors


class Unreachable(errors.TransientError):
    """The API server can't be reached or did not respond in time, or the credentials can't be read at present."""


class Broken(errors.TransientError):
    """The connection ended in the middle of a message, whose beginning must not be used."""


class Garbled(Broken):
    """A watch received data that is no watch event; the connection itself works."""


class Silent(errors.TransientError):
    """Nothing was received for too long: the connection may be half open."""


class Stuck(Silent):
    """Bytes were received, but no whole line for too long: the watch is broken even if the server responds."""


class Malformed(errors.TransientError):
    """The API server sent an object that Beacon can't continue from, e.g. one without UID or resourceVersion."""


class TooBig(Malformed):
    """The API server sent a response that is larger than allowed."""


class Absent(errors.TransientError):
    """The API server does not serve this kind (yet)."""


class Unsuitable(errors.PermanentError):
    """This kind can't be watched as configured; retrying does not help."""


class ApiRefused(errors.TransientError):
    """The API server responded with an error status.

    `status` is the HTTP status, or the code of the `ERROR` event of a watch; `reason` is the Status' machine-readable
    reason. `future` is True if the requested position is ahead of the server.
    """

    def __init__(
        self, message: str, *, status: int, reason: str = "", delay_s: float | None = None, future: bool = False
    ) -> None:
        """Store the fields of the server's response."""
        super().__init__(message, delay_s=delay_s)
        self.status = status
        self.reason = reason
        self.future = future
