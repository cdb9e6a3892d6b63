"""The settings reach the parts of the notifier."""

from beacon.configuration import settings
from beacon.notifier import wiring


def test_the_idle_timeout_of_connections_is_the_configured_one() -> None:
    usual = settings.EndpointSettings(url="http://e/")
    shorter = settings.EndpointSettings(url="http://e/", idle_timeout_s=7.0)

    found = [
        wiring.target_of(settings.Settings(resources=(), endpoints=(given,)), given).idle_timeout_s
        for given in (usual, shorter)
    ]

    assert found == [50.0, 7.0]
