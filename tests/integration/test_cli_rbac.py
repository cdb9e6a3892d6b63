"""`beacon rbac` as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beacon import errors
from beacon.codec import documents
from beacon.dev.api_server import server
from tests.integration import test_dev_cluster_kubectl as kubectls

WIDGETS = "resources: [{apiVersion: example.com/v1, kind: Widget, namespaces: [default]}]\nendpoint: {url: http://s/}\n"
PODS = "resources: [{apiVersion: v1, kind: Pod}]\nendpoint: {url: http://s/}\n"


def run(text: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
    command = [sys.executable, "-m", "beacon.cli", "rbac", "--config", "-", *options]
    return subprocess.run(command, env=kept | environ, input=text, capture_output=True, text=True, check=False)


def test_kubectl_accepts_the_output(tmp_path: Path) -> None:
    with server.running() as cluster:
        cluster.define("widgets", "example.com", "Widget")
        kubeconfig = str(cluster.kubeconfig(tmp_path / "admin"))

        for output, options in (("yaml", []), ("json", ["--validate=false"])):  # the embedded server describes no List
            done = run(WIDGETS, "-o", output, "--name", output, "--namespace", "n", KUBECONFIG=kubeconfig)
            assert done.returncode == errors.EXIT_OK, done.stderr
            kubectls.Kubectl(cluster, tmp_path)("apply", "-f", "-", *options, text=done.stdout)

        for output in ("yaml", "json"):
            role = cluster.get("roles.rbac.authorization.k8s.io", output, namespace="default")
            assert role is not None
            assert role["rules"] == [
                {"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["list", "watch"]}
            ]
            bound = cluster.get("rolebindings.rbac.authorization.k8s.io", output, namespace="kube-system")
            assert bound is not None
            assert bound["subjects"] == [{"kind": "ServiceAccount", "name": "beacon", "namespace": "n"}]


def test_an_unknown_plural_prints_only_the_problem_and_its_remedy() -> None:
    done = run(WIDGETS)

    assert (done.returncode, done.stdout) == (errors.EXIT_FAILURE, "")
    assert done.stderr.startswith("Widget of example.com/v1: its plural is not known: KUBECONFIG is not set")
    assert "`resource:`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_kind_that_the_cluster_does_not_serve_is_reported(tmp_path: Path) -> None:
    with server.running() as cluster:
        done = run(WIDGETS, KUBECONFIG=str(cluster.kubeconfig(tmp_path / "kubeconfig")))

    assert (done.returncode, done.stdout) == (errors.EXIT_FAILURE, "")
    assert "the API server does not serve Widget of example.com/v1" in done.stderr


def test_without_a_file_it_is_the_configuration_that_beacon_runs_with(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(PODS)
    command = [sys.executable, "-m", "beacon.cli", "rbac"]
    environ = os.environ | {"CONFIG_PATH": str(tmp_path / "config.yaml")}

    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)

    assert done.stdout == run(PODS).stdout


def test_the_identity_is_left_out_when_it_is_not_wanted() -> None:
    done = run(PODS, "--no-identity", "-o", "json", "--service-account", "me")

    role, binding = json.loads(done.stdout)["items"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
    assert binding["subjects"][0] == {"kind": "ServiceAccount", "name": "me", "namespace": "beacon"}


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        ("resources: [", (), errors.EXIT_CONFIG),
        (PODS, ("--namespace", "Not.A.Namespace"), 2),
        (PODS, ("--name", "-"), 2),
        (PODS, ("-o", "xml"), 2),
        (PODS, ("--user", ""), 2),
        (PODS, ("--group", "g", "--service-account", "beacon"), 2),
    ],
)
def test_a_usage_error_prints_no_role_and_is_reported(text: str, options: tuple[str, ...], code: int) -> None:
    done = run(text, *options)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_input_that_is_no_text_is_a_problem_of_the_configuration() -> None:
    command = [sys.executable, "-m", "beacon.cli", "rbac", "--config", "-"]

    done = subprocess.run(command, input=b"\xff\xfe", capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (errors.EXIT_CONFIG, b"")
    assert done.stderr.startswith(b"standard input is not UTF-8")


def test_help_and_built_in_kinds_do_not_load_the_kubernetes_client() -> None:
    program = (
        "import atexit, sys; from beacon.cli.__main__ import main;"
        " atexit.register(lambda: print('kubernetes' in sys.modules)); main()"
    )
    for words in (["--help"], ["plan", "--help"], ["rbac", "--help"], ["rbac", "--config", "-"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *words], input=PODS, capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("False\n")


def test_users_and_groups_receive_the_rights_and_kubectl_takes_that(tmp_path: Path) -> None:
    done = run(PODS, "--user", "jane", "--group", "ops", "-n", "ignored")

    assert done.returncode == errors.EXIT_OK, done.stderr
    with server.running() as cluster:
        kubectls.Kubectl(cluster, tmp_path)("apply", "-f", "-", text=done.stdout)
        bound = cluster.get("clusterrolebindings.rbac.authorization.k8s.io", "beacon")
    assert bound is not None
    assert [(one["kind"], one["name"]) for one in bound["subjects"]] == [("User", "jane"), ("Group", "ops")]


def test_the_table_has_a_row_for_each_rule() -> None:
    done = run(PODS, "-o", "table")

    assert [line.split() for line in done.stdout.splitlines()] == [
        ["ROLE", "NAMESPACE", "API", "GROUP", "RESOURCES", "NAMES", "VERBS"],
        ["ClusterRole", "-", "-", "pods", "-", "list,watch"],
        ["ClusterRole", "-", "-", "namespaces", "kube-system", "get"],
    ]


def test_the_context_chooses_the_cluster(tmp_path: Path) -> None:
    with server.running() as cluster:
        cluster.define("widgets", "example.com", "Widget")
        kubeconfig = cluster.kubeconfig(tmp_path / "kubeconfig")
        context = str(documents.load(kubeconfig.read_text(encoding="utf-8"))["current-context"])

        found = run(WIDGETS, "--kubeconfig", str(kubeconfig), "--context", context)
        missing = run(WIDGETS, "--context", "other", KUBECONFIG=str(kubeconfig))

    assert (found.returncode, "widgets" in found.stdout) == (errors.EXIT_OK, True), found.stderr
    assert (missing.returncode, missing.stdout) == (errors.EXIT_FAILURE, "")
    assert f"has no context 'other'; its contexts: {context}" in missing.stderr


def test_the_example_has_one_document_for_each_role_and_binding() -> None:
    text = (Path(__file__).parents[2] / "docs" / "examples" / "config.yaml").read_text(encoding="utf-8")

    manifests = [documents.load(one) for one in run(text).stdout.split("---\n")]

    assert [(one["kind"], one["metadata"].get("namespace", "")) for one in manifests] == [
        ("ClusterRole", ""),
        ("ClusterRoleBinding", ""),
        ("Role", "billing"),
        ("RoleBinding", "billing"),
        ("Role", "shop"),
        ("RoleBinding", "shop"),
    ]
