"""A filter for deliveries, as the options of the command line describe it."""

from dataclasses import dataclass

from beacon.domain import model


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Conditions that must all hold; an empty one matches everything.

    `states` and `types` are alternatives. `namespace` is None for any, "" for objects without one. `ids` are event ids.
    `since_us` and `until_us` limit the instant of detection: from (inclusive) and before (exclusive); 0: no limit.
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
    endpoint: str = ""
