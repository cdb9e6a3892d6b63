"""Both clients accept the same certificates, on every interpreter."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interpreters import authorities, doors
from tests.unit.notifier import endpoints

Ask = Callable[[Path, str, Path], str]


def ask_api(directory: Path, url: str, ca: Path) -> str:
    return doors.ask_api(directory, url, {"certificate-authority": str(ca)})


def ask_api_upper_case(directory: Path, url: str, ca: Path) -> str:
    return doors.ask_api(directory, url.replace("https", "HTTPS"), {"certificate-authority": ca.name})


def ask_endpoint(_directory: Path, url: str, ca: Path) -> str:
    return doors.ask_endpoint(url, ca=ca)


DOORS = pytest.mark.parametrize("ask", [ask_api, ask_api_upper_case, ask_endpoint])


@contextmanager
def served(certificate: Path) -> Iterator[str]:
    endpoint = endpoints.Endpoint(lambda *_: endpoints.Reply(200, b"{}"), context=authorities.serving(certificate))
    try:
        yield endpoint.url
    finally:
        endpoint.down()


@pytest.fixture
def authority(tmp_path: Path) -> authorities.Authority:
    return authorities.Authority(tmp_path, "authority")


@DOORS
def test_an_authority_without_key_identifiers_is_accepted(
    ask: Ask, authority: authorities.Authority, tmp_path: Path
) -> None:
    with served(authority.certify("server")) as url:
        assert ask(tmp_path, url, authority.file) == ""
        assert ask(tmp_path, url.replace("127.0.0.1", "localhost"), authority.file) == ""


@DOORS
@pytest.mark.parametrize(("section", "days"), [("elsewhere", 2), ("server", -1)])
def test_a_certificate_of_another_host_or_time_is_refused(
    ask: Ask, authority: authorities.Authority, tmp_path: Path, section: str, days: int
) -> None:
    with served(authority.certify("server", section=section, days=days)) as url:
        why = ask(tmp_path, url, authority.file)

    assert "certificate" in why
    assert ("expired" if days < 0 else "mismatch") in why


@DOORS
def test_another_authority_is_refused(ask: Ask, authority: authorities.Authority, tmp_path: Path) -> None:
    other = authorities.Authority(tmp_path, "other")

    with served(authority.certify("server")) as url:
        assert "certificate" in ask(tmp_path, url, other.file)


@DOORS
def test_an_incomplete_chain_is_refused_unless_the_intermediate_is_trusted(
    ask: Ask, authority: authorities.Authority, tmp_path: Path
) -> None:
    middle = authorities.Authority(tmp_path, "middle", issuer=authority)

    with served(middle.certify("server")) as url:
        assert "certificate" in ask(tmp_path, url, authority.file)
        assert ask(tmp_path, url, middle.file) == ""


@DOORS
def test_a_certificate_issued_by_a_non_authority_is_refused(
    ask: Ask, authority: authorities.Authority, tmp_path: Path
) -> None:
    leaf = authority.certify("leaf")
    false = authorities.Authority(tmp_path, "false")
    false.file = leaf

    with served(false.certify("server")) as url:
        assert "certificate" in ask(tmp_path, url, authority.file)


def test_a_server_of_another_name_is_trusted_by_tls_server_name(
    authority: authorities.Authority, tmp_path: Path
) -> None:
    cluster = {"certificate-authority": str(authority.file)}

    with served(authority.certify("server", section="elsewhere")) as url:
        assert doors.ask_api(tmp_path, url, cluster | {"tls-server-name": "elsewhere.example"}) == ""
        assert "certificate" in doors.ask_api(tmp_path, url, cluster | {"tls-server-name": "other.example"})
        assert doors.ask_api(tmp_path, url, {"insecure-skip-tls-verify": True}) == ""
        assert "certificate" in doors.ask_api(tmp_path, url, {})
