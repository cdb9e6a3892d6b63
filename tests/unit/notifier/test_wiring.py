"""The settings reach the parts of the notifier."""

from beacon.configuration import settings
from beacon.notifier import wiring
from beacon.notifier.transport import endpoint_proxy


def test_the_idle_timeout_of_connections_is_the_configured_one() -> None:
    usual = settings.EndpointSettings(url="http://e/")
    shorter = settings.EndpointSettings(url="http://e/", idle_timeout_s=7.0)

    found = [
        wiring.target_of(settings.Settings(resources=(), endpoints=(given,)), given).idle_timeout_s
        for given in (usual, shorter)
    ]

    assert found == [50.0, 7.0]


def test_the_proxy_of_each_endpoint_is_part_of_its_target() -> None:
    proxies = (
        settings.ProxySettings(),
        settings.ProxySettings(url=settings.NO_PROXY),
        settings.ProxySettings(url="socks5://p:1", username="me", password_file="/secret/p"),
    )
    entries = tuple(settings.EndpointSettings(url="http://e/", proxy=one) for one in proxies)
    tree = settings.Settings(resources=(), endpoints=entries)

    assert [wiring.target_of(tree, one).proxy for one in entries] == [
        endpoint_proxy.ProxyConfig(url=endpoint_proxy.OF_ENVIRONMENT),
        endpoint_proxy.ProxyConfig(url=endpoint_proxy.NONE),
        endpoint_proxy.ProxyConfig(url="socks5://p:1", username="me", password_file="/secret/p"),
    ]
