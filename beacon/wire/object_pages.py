"""The objects in the ledger, page by page, for a forecast of the effects of a changed configuration."""

from dataclasses import dataclass

from beacon.domain import model
from beacon.wire import verb


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadObjects(verb.Request["ObjectPage"]):
    """Ask for the next objects after a UID, in the order of UIDs; "" is the start."""

    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object that is not gone, with the data that decides how it is evaluated again."""

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
    """Reply with one page; `after` is the start of the next. `cluster` and `epoch` are the ledger's."""

    cluster: str
    epoch: int
    objects: tuple[StoredObject, ...]
    after: str
    more: bool


VERBS: tuple[verb.AnyVerb, ...] = (verb.Verb("holdings", ReadObjects, ObjectPage, verb.VerbKind.READ),)
