"""What a verb is: its name on the wire, the type of its request, the type of its reply, and what it does to the ledger.

A request names the type of its reply as the parameter of its base class, so that a type checker knows what a call
returns. A module of `beacon.wire` defines requests and replies and lists its verbs in `VERBS`.
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
    """What a verb does to the ledger."""

    READ = "read"  # reads, or changes nothing but the size of the file; needs no transaction
    WRITE = "write"  # writes; goes on while the free space is below the reserve
    INTAKE = "intake"  # writes what is new; refused while the free space is below the reserve


@dataclass(frozen=True, slots=True)
class Verb(Generic[Q, R]):
    """One verb of the wire; a `bound` one must name its ledger, because it changes what its sender learnt from one."""

    name: str
    request: type[Q]
    reply: type[R]
    kind: VerbKind
    bound: bool = False


AnyVerb = Verb[Any, Any]
