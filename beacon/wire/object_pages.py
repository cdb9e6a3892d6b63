"""What the ledger holds of objects, page by page: for whoever asks what a changed configuration would mean."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadObjects(verb.Request["ObjectPage"]):
    """Ask for the next objects after that UID, in the order of UIDs; "" is the beginning."""

    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object that is not gone, with what decides how it is judged anew."""

    uid: str
    group: str
    kind: str
    namespace: str
    state: model.ObjectState
    epoch: int
    resource_version: int
    judged_by: str
    accepted_by: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPage(verb.Reply):
    """One page; `after` is where to go on. `cluster` and `epoch` are the ledger's."""

    cluster: str
    epoch: int
    objects: tuple[StoredObject, ...]
    after: str
    more: bool


VERBS: tuple[verb.AnyVerb, ...] = (verb.Verb("holdings", ReadObjects, ObjectPage, verb.VerbKind.READ),)
