"""Notes: what a transaction has done, for metrics and the log, after the commit."""

from beacon.domain import model, records


@records.record
class EventRecorded:
    """An event was written: for metrics and the log, after the commit."""

    kind: str
    type: model.EventType
    source: model.Source
    cause: model.Cause
    namespace: str
    name: str
    id: str
    received_ns: int
