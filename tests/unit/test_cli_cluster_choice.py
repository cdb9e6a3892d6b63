"""Which cluster a command works with: as kubectl chooses it."""

from pathlib import Path

import pytest

from beacon import errors
from beacon.cli import cluster_choice, cluster_client
from beacon.cluster import credentials, lists
from beacon.dev.api_server import server as api_server
from beacon.dev.demo import real
from tests.interpreters import doors


def two_contexts(directory: Path) -> str:
    """Write two files, each with a context, and return them as KUBECONFIG takes them."""
    directory.mkdir()
    paths = []
    for name, port in (("first", 1), ("second", 2)):
        path = doors.write_kubeconfig(directory / name, f"https://127.0.0.1:{port}", user={"token": name})
        text = path.read_text(encoding="utf-8")
        for shared in ("c", "me", "here"):
            text = text.replace(f'"{shared}"', f'"{name}"')
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return ":".join(map(str, paths))


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [
        ("named", "set", "named"),
        ("", "set:other", "set:other"),
        ("", "", "{home}/.kube/config"),
    ],
)
def test_the_option_comes_before_the_variable_and_that_before_the_home(
    tmp_path: Path, option: str, variable: str, expected: str
) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/config").touch()

    chosen = cluster_choice.ClusterChoice(kubeconfig=option)

    environ = chosen.environ({"HOME": str(tmp_path), "KUBECONFIG": variable, "A": "b"})
    assert environ == {"HOME": str(tmp_path), "KUBECONFIG": expected.format(home=tmp_path), "A": "b"}


@pytest.mark.parametrize("environ", [{}, {"HOME": "/nowhere"}])
def test_without_any_kubeconfig_the_service_account_is_left(environ: dict[str, str]) -> None:
    assert cluster_choice.ClusterChoice().environ(environ)["KUBECONFIG"] == ""


def test_the_home_is_read_by_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (tmp_path / ".kube").mkdir()

    with api_server.running() as api:
        api.kubeconfig(tmp_path / ".kube/config")
        found = cluster_client.connect(cluster_choice.ClusterChoice())

        assert lists.cluster_uid(found)


def test_a_context_of_any_file_can_be_chosen(tmp_path: Path) -> None:
    paths = two_contexts(tmp_path / "k")

    current = credentials.source({"KUBECONFIG": paths}, connections=1)()
    chosen = credentials.source({"KUBECONFIG": paths}, connections=1, context="second")()

    assert current.server == "https://127.0.0.1:1"
    assert chosen.server == "https://127.0.0.1:2"
    assert dict(chosen.headers)["Authorization"] == "Bearer second"


def test_a_context_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    paths = two_contexts(tmp_path / "k")

    with pytest.raises(errors.ConfigError, match="has no context 'third'; its contexts: first, second"):
        credentials.source({"KUBECONFIG": paths}, connections=1, context="third")


def test_a_context_without_a_kubeconfig_is_an_error() -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}

    with pytest.raises(errors.ConfigError, match="no kubeconfig with a context 'a'"):
        credentials.source(pod, connections=1, context="a")


def test_the_demo_chooses_a_context_with_a_first_file(tmp_path: Path) -> None:
    files = real.ClusterFiles(config=tmp_path / "c", kubeconfig=two_contexts(tmp_path / "k"), environ={})

    chosen = real.choose_context(files, "second", tmp_path)

    load = credentials.source({"KUBECONFIG": chosen.kubeconfig}, connections=1)
    assert load().server == "https://127.0.0.1:2"
