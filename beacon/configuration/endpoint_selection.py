"""The selection of an endpoint from its settings. The store and the commands both call this, so that they agree."""

from beacon.configuration import settings
from beacon.domain import model, selection


def of(one: settings.EndpointSettings) -> selection.Selection:
    """Return the events that an endpoint gets."""
    chosen, left_out = one.select, one.exclude
    return selection.Selection(
        select=selection.SubjectFilter(kinds=chosen.kinds, namespaces=chosen.namespaces, names=chosen.names),
        exclude=selection.SubjectFilter(kinds=left_out.kinds, namespaces=left_out.namespaces, names=left_out.names),
        types=tuple(map(model.EventType, chosen.types)),
    )
