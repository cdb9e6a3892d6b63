"""What an operator does about a parked endpoint. Pure."""

from collections.abc import Mapping

from beacon.domain import parking

_CURES: Mapping[str, str] = {
    parking.ParkingCause.UNAUTHORIZED: (
        "replace the token or the client certificate; a changed file is read again by itself"
    ),
    parking.ParkingCause.FORBIDDEN: "let the receiver allow it, or use another token or certificate",
    parking.ParkingCause.NOT_FOUND: "correct the URL, or restore its path at the receiver",
    parking.ParkingCause.METHOD: "correct the method or the URL",
    parking.ParkingCause.PROXY_AUTH: "correct the user and the password of the proxy",
    parking.ParkingCause.GONE: "correct the URL, which the receiver has given up for good",
    "invalid-client": "correct the client's ID and secret",
}


def cure(cause: str) -> str:
    """Return the sentence, without its end, that says what removes a cause."""
    status = cause.removeprefix("status-")
    return _CURES.get(cause, f"find out why it answers {status}, and correct that")


def advice(endpoint: str, cause: str) -> str:
    """Return what removes the cause, and what happens until then."""
    return (
        f"{cure(cause)}; probes go on until it accepts one, and beacon resume --endpoint {endpoint} sends what it"
        " refused again at once"
    )
