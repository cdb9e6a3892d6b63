"""An unusable proxy is rejected without repeating its password; NO_PROXY has the same meaning as for curl."""

import pytest

from beacon import errors
from beacon.boundary import proxies


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy:3128", "http://proxy:3128"),
        ("HTTP://Proxy.example/", "http://proxy.example:80"),
        ("https://proxy", "https://proxy:443"),
        ("socks5://127.0.0.1", "socks5://127.0.0.1:1080"),
        ("SOCKS5H://[::1]:9", "socks5h://[::1]:9"),
        ("http://[fe80::1%25eth0]:9", "http://[fe80::1%25eth0]:9"),
        (" http://proxy:1\n", "http://proxy:1"),
    ],
)
def test_a_proxy_is_read(text: str, url: str) -> None:
    assert proxies.parse(text, "P").url == url


def test_user_and_password_are_decoded_and_not_shown() -> None:
    made = proxies.parse("socks5://me:p%40ss%2Fw@proxy", "P")

    assert (made.username, made.password) == ("me", "p@ss/w")
    assert "p@ss" not in repr(made) + made.url


@pytest.mark.parametrize(
    "text",
    [
        "http://me:hunter2@",
        "http://",
        "://proxy",
        "socks4://me:hunter2@proxy",
        "socks://proxy",
        "ftp://proxy",
        "unix:///run/proxy",
        "http://me:hunter2@proxy:port",
        "http://proxy:0",
        "http://proxy:65536",
        "http://proxy:-1",
        "http://[::1",
        "http://::1:80",
        "http://[hunter2]",
        "http://me:hunter2/x@proxy",
        "http://me:hunter2#x@proxy:1",
        "http://-proxy",
        "http://pro xy",
        "http://pro\nxy",
        "http://me:hunter2%0a@proxy",
        "socks5://me@proxy",
        f"socks5://me:{'hunter2' * 40}@proxy",
        "http://münchen",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        proxies.parse(text, "HTTPS_PROXY")

    assert str(caught.value).startswith("HTTPS_PROXY: ")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"HTTPS_PROXY": "http://a"}, "http://a:80"),
        ({"https_proxy": "http://b", "HTTPS_PROXY": "http://a"}, "http://b:80"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://a"}, None),
        ({"HTTP_PROXY": "http://a"}, None),
        ({"ALL_PROXY": "socks5h://a"}, "socks5h://a:1080"),
        ({"ALL_PROXY": "socks5h://a", "HTTPS_PROXY": "http://b"}, "http://b:80"),
        ({"HTTPS_PROXY": "nonsense://", "NO_PROXY": "far.example"}, None),
        ({"HTTPS_PROXY": "http://a", "NO_PROXY": "near.example"}, "http://a:80"),
        ({}, None),
    ],
)
def test_the_proxy_of_the_environment_is_found(environ: dict[str, str], found: str | None) -> None:
    proxy = proxies.of_environment(environ, "https://far.example/hook")

    assert (proxy.url if proxy else None) == found


@pytest.mark.parametrize(
    ("host", "no_proxy", "bypassed"),
    [
        ("a.example", "a.example", True),
        ("a.example", "b.example, a.example", True),
        ("a.example", "b.example a.example", True),
        ("A.Example.", "a.example", True),
        ("a.example", ".example", True),
        ("a.example", "*.example", True),
        ("a.example", "example", True),
        ("a.example", "ample", False),
        ("a.example", "*", True),
        ("a.example", "", False),
        ("a.example", ".", False),
        ("a.example", "a.example:443", True),
        ("a.example", "a.example:444", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "11.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "2.3", False),
        ("::1", "::1", True),
        ("::1", "[::1]:443", True),
        ("::1", "::/16", True),
        ("fd00::1", "[fd00::1]", True),
    ],
)
def test_no_proxy_lists_whom_to_reach_directly(host: str, no_proxy: str, bypassed: bool) -> None:
    assert proxies.is_bypassed(host, 443, no_proxy) is bypassed
