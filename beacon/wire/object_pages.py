"""Objects and views of the ledger, page by page, for a forecast of the effects of a changed configuration."""

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
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPage(verb.Reply):
    """Reply with one page; `after` is the start of the next. `cluster` and `epoch` are the ledger's."""

    cluster: str
    epoch: int
    objects: tuple[StoredObject, ...]
    after: str
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadViews(verb.Request["ViewPage"]):
    """Ask for the next views after the number `after` of the previous reply; 0 is the start."""

    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredView:
    """An object that exists according to what was written for an endpoint; `value` as it was sent."""

    endpoint: str
    group: str
    kind: str
    namespace: str
    name: str
    uid: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEndpoint:
    """An endpoint as the last start recorded it: a hexadecimal digest of its URL, and what it selected.

    `removed`: it is not configured. `unsettled` are its open and failed deliveries.
    """

    name: str
    url_digest: str
    selection: str
    updates: bool
    removed: bool
    unsettled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPage(verb.Reply):
    """Reply with one page of views, and with all endpoints; a page may be empty although more follow."""

    endpoints: tuple[StoredEndpoint, ...]
    views: tuple[StoredView, ...]
    after: int
    more: bool


VERBS: tuple[verb.AnyVerb, ...] = (
    verb.Verb("holdings", ReadObjects, ObjectPage, verb.VerbKind.READ),
    verb.Verb("views", ReadViews, ViewPage, verb.VerbKind.READ),
)
