"""Which deliveries somebody means: what people give on the command line as filters."""

from dataclasses import dataclass

from beacon.domain import model


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Filters that all have to fit; an empty one fits everything.

    `states` and `types` are alternatives. `namespace` is None for any, "" for objects that have none. `ids` are ids of
    events. `since_us` and `until_us` are about the instant at which the event was detected: from, and before; 0: any.
    """

    states: tuple[model.DeliveryState, ...] = ()
    types: tuple[model.EventType, ...] = ()
    kind: str = ""
    namespace: str | None = None
    name: str = ""
    uid: str = ""
    ids: tuple[str, ...] = ()
    since_us: int = 0
    until_us: int = 0
