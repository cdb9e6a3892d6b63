"""The notifier can use every URL that the configuration accepts: an exception at start would end all endpoints."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beacon.configuration import values
from beacon.notifier.transport import endpoint_proxy, route

HOSTS = st.sampled_from(
    ["a", "A_b.c", "a.", "1.2.3.4", "1.2", "[::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::ffff:1.2.3.4]", "a" * 70]
)
PORTS = st.sampled_from(["", ":", ":80", ":0080", ":65535"])
PATHS = st.text("ab%[]{}|\\^~/?&=:;,!$'()*+<>`\"", max_size=8)


def routes_of(url: str, proxy: str = endpoint_proxy.NONE) -> route.EndpointRoutes:
    target = route.Target(url=url, method="POST", agent="a", width=1, proxy=endpoint_proxy.ProxyConfig(url=proxy))
    return route.EndpointRoutes(target, route.RouteListener())


@given(st.sampled_from(["http", "https", "HTTPS"]), HOSTS, PORTS, PATHS)
@example("http", "[::1]", "", "b")
@example("http", "[::1]", "", "]/")
def test_every_accepted_url_can_be_used(scheme: str, host: str, port: str, path: str) -> None:
    url = f"{scheme}://{host}{port}{path}"

    with contextlib.suppress(ValueError):
        routes_of(values.url(url))


@given(st.sampled_from(["http", "SOCKS5", "socks5h"]), HOSTS, PORTS, PATHS)
def test_every_accepted_proxy_can_be_used(scheme: str, host: str, port: str, path: str) -> None:
    with contextlib.suppress(ValueError):
        routes_of("http://a/", values.proxy_url(f"{scheme}://{host}{port}{path}"))


@pytest.mark.parametrize("text", ["http://[::1]b/", "http://[::1]b:80/", "https://[fe80::1%25eth0]x"])
def test_text_behind_an_address_in_brackets_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be an http or https URL"):
        values.url(text)
    with pytest.raises(ValueError, match=r"must be the URL of a proxy|is unusable"):
        values.proxy_url(text)
