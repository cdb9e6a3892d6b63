"""The settings reach the ledger."""

from typing import Any

from beacon.configuration import settings
from beacon.domain import model
from beacon.store import wiring
from beacon.store.ledger import endpoints


def ledger_endpoint(**changes: Any) -> endpoints.LedgerEndpoint:
    given = settings.EndpointSettings(url="http://e/", **changes)
    (one,) = wiring.ledger_config_of(settings.Settings(resources=(), endpoints=(given,))).endpoints
    return one


def test_an_endpoint_without_a_selection_gets_everything_without_a_comparison() -> None:
    one = ledger_endpoint()

    assert one.selects is endpoints.select_all
    assert one.types == frozenset(model.EventType)
    assert one.start is endpoints.StartFrom.CREATED


def test_each_part_of_a_selection_reaches_the_ledger() -> None:
    one = ledger_endpoint(
        name="billing",
        start="now",
        select=settings.Select(kinds=("Pod", "Deployment.apps"), namespaces=("team-*",), types=("created",)),
        exclude=settings.Exclude(names=("tmp-*",)),
    )

    assert (one.name, one.start, one.types) == (
        "billing",
        endpoints.StartFrom.NOW,
        frozenset({model.EventType.CREATED}),
    )
    assert one.selects("apps", "Deployment", "team-a", "web")
    assert one.selects("", "Pod", "team-a", "web")
    assert not one.selects("", "Deployment", "team-a", "web")
    assert not one.selects("", "Pod", "other", "web")
    assert not one.selects("", "Pod", "team-a", "tmp-1")


def test_the_recorded_selection_changes_only_with_what_the_endpoint_gets() -> None:
    usual = ledger_endpoint()
    recorded = {
        ledger_endpoint(select=settings.Select(kinds=("Pod",))).recorded,
        ledger_endpoint(exclude=settings.Exclude(kinds=("Pod",))).recorded,
        ledger_endpoint(select=settings.Select(types=("deleted",))).recorded,
    }

    assert len(recorded - {usual.recorded}) == 3
    assert ledger_endpoint(select=settings.Select(types=tuple(model.EventType))).recorded == usual.recorded
    assert ledger_endpoint(concurrency=3, rate=2.0, headers={"a": "b"}).recorded == usual.recorded


def test_another_url_is_another_receiver() -> None:
    assert ledger_endpoint(name="a").url_digest == ledger_endpoint(name="b").url_digest
    given = settings.EndpointSettings(url="http://other/")
    (other,) = wiring.ledger_config_of(settings.Settings(resources=(), endpoints=(given,))).endpoints
    assert other.url_digest != ledger_endpoint().url_digest
