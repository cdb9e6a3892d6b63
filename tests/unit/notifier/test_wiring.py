"""The settings reach the parts of the notifier."""

from beacon.configuration import settings
from beacon.notifier import wiring
from beacon.notifier.transport import endpoint_proxy
from beacon.notifier.transport.auth import endpoint_auth


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


def test_the_credentials_of_each_endpoint_are_part_of_its_target() -> None:
    client = settings.OAuth2(token_url="https://t/", client_id="me", client_secret_file="/c", client_auth="body")
    entries = (
        settings.EndpointSettings(url="http://e/", auth=settings.Auth(bearer=settings.Bearer(token_file="/t"))),
        settings.EndpointSettings(
            url="http://e/",
            auth=settings.Auth(basic=settings.Basic(username="u", password_file="/p"), header_files={"X": "/x"}),
            signing=settings.Signing(secret_files=("/s",)),
        ),
        settings.EndpointSettings(
            url="http://e/",
            auth=settings.Auth(oauth2=client),
            proxy=settings.ProxySettings(url="socks5://p:1", username="me", password_file="/secret/p"),
        ),
    )
    tree = settings.Settings(resources=(), endpoints=entries)

    bearer, basic, oauth2 = (wiring.target_of(tree, one) for one in entries)

    assert (bearer.auth, bearer.token) == (endpoint_auth.AuthConfig(token_file="/t"), None)
    assert basic.auth == endpoint_auth.AuthConfig(
        username="u", password_file="/p", header_files={"X": "/x"}, signing_files=("/s",)
    )
    assert oauth2.token is not None
    assert (oauth2.token.target.url, oauth2.token.target.proxy) == ("https://t/", oauth2.proxy)
    assert oauth2.token.target.auth.password_use is endpoint_auth.PasswordUse.BODY
    assert not oauth2.auth.is_configured
