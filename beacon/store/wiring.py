"""Converts the settings to the configuration of the ledger.

Pure. The other modules of the store do not import the settings.
"""

import hashlib
from dataclasses import replace

from beacon.configuration import configured_scopes, endpoint_selection, settings
from beacon.domain import model, parking, selection
from beacon.store.ledger import endpoints
from beacon.store.verbs import alignment


def ledger_config_of(tree: settings.Settings) -> alignment.LedgerConfig:
    """Return the scopes and the endpoints of a configuration."""
    return alignment.LedgerConfig(
        scopes=configured_scopes.of(tree),
        endpoints=tuple(map(_endpoint, tree.endpoints)),
        updates=tree.events.updated,
    )


def _endpoint(one: settings.EndpointSettings) -> endpoints.LedgerEndpoint:
    chosen = endpoint_selection.of(one)
    # The ledger records the types beside the fingerprint: naming all of them is not a change.
    objects = replace(chosen, types=())
    return endpoints.LedgerEndpoint(
        name=one.name,
        url_digest=hashlib.sha256(one.url.encode()).digest(),
        start=endpoints.StartFrom(one.start),
        selects=_selector(objects),
        selection=objects.fingerprint(),
        types=frozenset(chosen.types or model.EventType),
        park=_parking_of(one.park),
    )


def _parking_of(park: settings.Park) -> parking.ParkingRules | None:
    """Return the rules by which an endpoint is parked; None: never."""
    return parking.ParkingRules(after=park.after, statuses=frozenset(park.statuses)) if park.enabled else None


def _selector(chosen: selection.Selection) -> endpoints.Selector:
    """Return a function that returns True for the selected objects."""
    if chosen == selection.Selection():
        return endpoints.select_all

    def selects(group: str, kind: str, namespace: str, name: str) -> bool:
        subject = selection.Subject(group=group, kind=kind, namespace=namespace, name=name)
        return chosen.why_no_object(subject) is None

    return selects
