"""Notes: what a transaction has done, for metrics and the log, after the commit."""

from beacon.domain import model, records


@records.record
class EventRecorded:
    """An event was written: for metrics, the log and `follow`, after the commit."""

    sequence: int
    kind: str
    type: model.EventType
    source: model.Source
    cause: model.Cause
    namespace: str
    name: str
    id: bytes
    received_ns: int
