"""Credentials come from where they lie now, and what is wrong with them is said in words without quoting them."""

from pathlib import Path

import pytest

from beacon import errors
from beacon.cluster import connection, credentials, failures, listing
from beacon.dev.cluster import server as api_server

POD = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "ca.crt").write_text("pem")
    (tmp_path / "token").write_text("first-token")
    return tmp_path


def token_of(load: credentials.Load) -> str | None:
    return load().get_api_key_with_prefix("BearerToken")


def test_without_a_kubeconfig_and_outside_a_pod_the_configuration_is_wrong() -> None:
    with pytest.raises(errors.ConfigError, match="KUBECONFIG"):
        credentials.source({}, connections=1)


@pytest.mark.parametrize("text", ["", "a: [", "just text", "- a\n- b", "clusters: 5\nusers: 1\ncontexts: 2"])
def test_a_kubeconfig_of_no_use_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(errors.ConfigError) as caught:
        credentials.source({"KUBECONFIG": str(path)}, connections=1)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_kubeconfig_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="can't be used"):
        credentials.source({"KUBECONFIG": str(tmp_path / "none")}, connections=1)


def test_a_pod_uses_its_service_account(account: Path) -> None:
    load = credentials.source(POD, connections=9, service_account=account)

    configuration = load()
    assert configuration.host == "https://127.0.0.1:1"
    assert configuration.ssl_ca_cert == str(account / "ca.crt")
    assert configuration.connection_pool_maxsize == 9
    assert token_of(load) == "bearer first-token"


def test_a_token_that_was_replaced_is_read_anew(account: Path) -> None:
    load = credentials.source(POD, connections=1, service_account=account)
    load()

    (account / "token").write_text("second-token\n")

    assert token_of(load) == "bearer second-token"


def test_a_token_file_that_is_empty_for_a_moment_is_no_reason_to_end(account: Path) -> None:
    (account / "token").write_text("")
    load = credentials.source(POD, connections=1, service_account=account)

    with pytest.raises(failures.Unreachable, match="service account"):
        load()


def test_a_token_that_is_no_header_is_not_quoted(tmp_path: Path) -> None:
    with api_server.running() as api:
        path = api.kubeconfig(tmp_path / "kubeconfig", token="secret\nsecret")
        unusable = connection.Connection(credentials.source({"KUBECONFIG": str(path)}, connections=1))

        with pytest.raises(failures.Unreachable) as caught:
            listing.cluster_uid(unusable)

    assert "secret" not in str(caught.value)


def test_a_certificate_of_somebody_else_is_said_in_words(tmp_path: Path) -> None:
    with api_server.running() as api, api_server.running() as other:
        path = api.kubeconfig(tmp_path / "kubeconfig")
        path.write_text(path.read_text().replace(api.url, other.url))
        deceived = connection.Connection(credentials.source({"KUBECONFIG": str(path)}, connections=1))

        with pytest.raises(failures.Unreachable, match="certificate verify failed"):
            listing.cluster_uid(deceived)
