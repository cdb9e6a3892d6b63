"""What can go wrong between Beacon and the API server, named by what it means.

Sentences for a person; no class of another library gets out of this package.
"""

from beacon import errors


class Unreachable(errors.TransientError):
    """The API server can't be reached, did not answer in time, or the credentials can't be read just now."""


class Broken(errors.TransientError):
    """The connection ended where it must not: what came last is not to be used."""


class Garbled(Broken):
    """A watch brought something that is none of its lines; the connection itself is sound."""


class Silent(errors.TransientError):
    """Nothing came for too long: the connection may be half open."""


class Stuck(Silent):
    """Bytes came, but no whole line for too long: whatever else the server answers, this watch is not well."""


class Malformed(errors.TransientError):
    """The API server sent an object that Beacon can't go on from, e.g. one without UID or resourceVersion."""


class TooBig(Malformed):
    """The API server sent more than an answer of its kind may have."""


class Absent(errors.TransientError):
    """The API server does not serve this kind (yet)."""


class Unsuitable(errors.PermanentError):
    """This kind can't be watched as configured, whatever the API server's mood."""


class ApiRefused(errors.TransientError):
    """The API server answered with another status than 200.

    `status` is the HTTP status, or the code of the `ERROR` line of a watch; `reason` is the Status' machine-readable
    reason. `future` says that the position asked for is ahead of the server.
    """

    def __init__(
        self, message: str, *, status: int, reason: str = "", delay_s: float | None = None, future: bool = False
    ) -> None:
        """Keep what the server said."""
        super().__init__(message, delay_s=delay_s)
        self.status = status
        self.reason = reason
        self.future = future
