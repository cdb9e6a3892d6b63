"""`proxy` of an endpoint: `env`, `none`, or a mapping, with messages that hold no password."""

import pathlib
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from beacon import errors
from beacon.codec import documents
from beacon.configuration import loading, named_files, settings, shown
from beacon.dev.reference import schema

RESOURCES = "resources: [{apiVersion: v1, kind: ConfigMap}]\n"
VALIDATOR = jsonschema.Draft7Validator(schema.document())


def text_with(proxy: str) -> str:
    return RESOURCES + f"endpoint: {{url: http://a/, proxy: {proxy}}}\n"


def load(proxy: str, **environ: str) -> settings.ProxySettings:
    return loading.parse(text_with(proxy), environ).settings.endpoint.proxy


@pytest.mark.parametrize("text", ["env", '""', "", "{}", "null"])
def test_the_default_is_the_environment(text: str) -> None:
    assert load(text) == settings.ProxySettings(url=settings.PROXY_OF_ENVIRONMENT)
    assert VALIDATOR.is_valid(documents.load(text_with(text)))


def test_none_is_a_direct_connection() -> None:
    assert load("none") == settings.ProxySettings(url=settings.NO_PROXY)


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy.example:3128",
        "HTTPS://Proxy.example/",
        "socks5://127.0.0.1",
        "socks5h://[::1]:9",
        "http://[fe80::1%eth0]:9",
    ],
)
def test_a_mapping_names_a_proxy(url: str) -> None:
    written = f'{{url: "{url}", username: me, passwordFile: /secret/p}}'
    made = load(written)

    assert (made.username, made.password_file, made.is_configured) == ("me", "/secret/p", True)
    assert made.url.partition("://")[0] == url.partition("://")[0].lower()
    assert made.url.partition("://")[2] == url.partition("://")[2]
    assert VALIDATOR.is_valid(documents.load(text_with(written)))


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("environment", "endpoint.proxy: must be env, none, or a mapping with url"),
        ('"http://me:hunter2@proxy"', "endpoint.proxy: must be env, none, or a mapping with url"),
        ("[http://me:hunter2@proxy]", "endpoint.proxy: must be env, none, or a mapping with url"),
        ("true", "endpoint.proxy: must be env, none, or a mapping with url"),
        ("{url: env}", "endpoint.proxy.url: 'env' must be the URL of a proxy"),
        ("{url: none}", "endpoint.proxy.url: 'none' must be the URL of a proxy"),
        ("{url: proxy.example}", "endpoint.proxy.url: 'proxy.example' must be the URL of a proxy"),
        ('{url: "http://me:hunter2@proxy"}', "endpoint.proxy.url: 'http://***@proxy' must not hold user info"),
        ('{url: "gopher://proxy"}', "endpoint.proxy.url: 'gopher://proxy' is unusable: proxies of this kind"),
        ('{url: "http://proxy:0"}', "endpoint.proxy.url: 'http://proxy:0' is unusable: the proxy's port must be"),
        ('{url: "http://proxy/path"}', "endpoint.proxy.url: 'http://proxy/path' must be the URL of a proxy"),
        ('{url: "http://proxy?hunter2"}', "endpoint.proxy.url: 'http://proxy' must be the URL of a proxy"),
        ('{url: "http://a b"}', "endpoint.proxy.url: 'http://a b' is unusable: the proxy's URL contains a blank"),
        ("{username: me}", "endpoint.proxy.url: required"),
        ("{passwordFile: /p}", "endpoint.proxy.url: required"),
        ('{url: "http://proxy", passwordFile: /p}', "endpoint.proxy.username: required by passwordFile"),
        ('{url: "socks5://proxy", username: me}', "endpoint.proxy.passwordFile: required by the username"),
        ('{url: "http://proxy", username: "a:b"}', "endpoint.proxy.username: contains a colon"),
        ('{url: "http://proxy", username: "a\\nb"}', "endpoint.proxy.username: contains a line feed"),
        ('{url: "socks5://proxy", username: ' + "u" * 256 + ", passwordFile: /p}", "endpoint.proxy.username: has more"),
        ('{url: "http://proxy", password: hunter2}', "endpoint.proxy.password: no such key; did you mean passwordFile"),
    ],
)
def test_a_problem_names_the_key_and_holds_no_password(proxy: str, message: str) -> None:
    with pytest.raises(errors.ConfigError) as refused:
        load(proxy)

    (problem,) = refused.value.problems
    assert problem.startswith(message)
    assert "hunter2" not in problem


def test_a_problem_of_an_entry_of_several_has_its_path() -> None:
    text = RESOURCES + "endpoints: [{url: http://a/}, {name: b, url: http://b/, proxy: {url: socks4://p}}]\n"

    with pytest.raises(errors.ConfigError, match=r"endpoints\[1\]\.proxy\.url: 'socks4://p' is unusable"):
        loading.parse(text, {})


@pytest.mark.parametrize("proxy", ["none", '{url: "http://proxy"}'])
def test_an_unusable_proxy_of_the_environment_concerns_only_who_uses_it(proxy: str) -> None:
    environ = {"HTTP_PROXY": "gopher://proxy"}
    load(proxy, **environ)

    with pytest.raises(errors.ConfigError, match="HTTP_PROXY: proxies of this kind are not supported"):
        load("env", **environ)


@pytest.mark.parametrize("proxy", ["env", "none", '{url: "https://p:1", username: u, passwordFile: /p}'])
def test_what_check_config_shows_can_be_loaded(proxy: str) -> None:
    tree = loading.parse(text_with(proxy), {}).settings
    seen = shown.as_file(tree)["endpoint"]["proxy"]

    assert load(str(seen) if isinstance(seen, str) else _flow(seen)) == tree.endpoint.proxy
    assert settings.from_plain(settings.to_plain(tree)) == tree


def _flow(mapping: dict[str, Any]) -> str:
    return "{" + ", ".join(f'{key}: "{value}"' for key, value in mapping.items()) + "}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "can't be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"hunter2\nhunter2", "contains a line feed or another control character"),
        (b"hunter2\xff", "is not UTF-8 text"),
        (b"hunter2" * 40, "has more than 255 bytes, which is the limit of a SOCKS proxy"),
        (b"hunter2\n", None),
    ],
)
def test_a_password_file_is_checked_without_repeating_it(
    content: bytes | None, problem: str | None, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    proxy = f'{{url: "socks5://p", username: me, passwordFile: {path}}}'

    found = list(named_files.problems(loading.parse(text_with(proxy), {}).settings, {}))

    assert found == ([] if problem is None else [f"endpoint.proxy.passwordFile {path} {problem}"])
