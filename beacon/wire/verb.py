"""The definition of a verb: its name on the wire, the types of its request and its reply, and its effect on the ledger.

A request states the type of its reply as the parameter of its base class, so that a type checker knows the type of a
call. A module of `beacon.wire` defines requests and replies and lists its verbs in `VERBS`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar


class Reply:
    """Base class of all replies."""

    __slots__ = ()


R_co = TypeVar("R_co", bound=Reply, covariant=True)
Q = TypeVar("Q")
R = TypeVar("R", bound=Reply)


class Request(Generic[R_co]):
    """Base class of all requests; `R_co` is the type of the reply."""

    __slots__ = ()


AnyRequest = Request[Reply]


class Caller(Protocol):
    """Sends a request to the store and returns its reply."""

    def __call__(self, request: Request[R], /) -> R:
        """Raise errors.BeaconError if there is no reply."""


class VerbKind(StrEnum):
    """The effect of a verb on the ledger."""

    READ = "read"  # reads, or changes only the size of the file; needs no transaction
    WRITE = "write"  # writes; still served while the free space is below the reserve
    INTAKE = "intake"  # writes new data; refused while the free space is below the reserve


@dataclass(frozen=True, slots=True)
class Verb(Generic[Q, R]):
    """One verb of the wire; requests of a `bound` one must name their ledger, because they depend on its data."""

    name: str
    request: type[Q]
    reply: type[R]
    kind: VerbKind
    bound: bool = False


AnyVerb = Verb[Any, Any]
