"""The chart renders the objects of kustomize, with the rights of `beacon rbac`, and refuses values that cannot work."""

import base64
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml

from beacon.cli import rights
from beacon.cli.commands import rbac
from beacon.configuration import configured_scopes, loading
from beacon.dev.reference import chart as reference
from tests.manifests import built, chart, operator_schemas, restricted
from tests.manifests import test_manifests as manifests
from tests.system import documents

pytestmark = pytest.mark.needs("helm", "kubectl")

URL = "https://receiver.example.com/events"
PLACEHOLDER = "replace-me"
UNKNOWN = (
    "config.resources[0]: the plural of Widget of example.com/v1 is not known to the chart: set `resource` to it, or"
    " set rbac.create=false and apply the output of `beacon rbac`"
)
HELMS = {
    "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart",
    "helm.sh/resource-policy", "checksum/config",
}  # fmt: skip
MONITORED = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
OVERLAYS: Mapping[str, Mapping[str, Any]] = {
    built.BASE: {},
    "overlays/backups": {"backups": {"enabled": True}},
    "overlays/openshift": {"openshift": True},
    "overlays/test-endpoint": {"testEndpoint": {"enabled": True}},
    "overlays/example": {
        "persistence": {"storageClass": "fast", "size": "5Gi"},
        "rbac": {"name": "beacon-shop"},
        "existingSecret": "beacon-endpoint",
    },
}
CONFIGURATIONS = {
    "all namespaces": [{"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "apps/v1", "kind": "Deployment"}],
    "some namespaces": [{"apiVersion": "apps/v1", "kind": "Deployment", "namespaces": ["shop", "billing"]}],
    "both": [
        {"apiVersion": "v1", "kind": "Secret", "namespaces": ["shop", "kube-system"]},
        {"apiVersion": "v1", "kind": "Pod", "namespaces": ["shop"]},
        {"apiVersion": "v1", "kind": "Namespace"},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"},
    ],
    "the identity with others in kube-system": [
        {"apiVersion": "v1", "kind": "Service", "namespaces": ["kube-system"]},
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "namespaces": ["kube-system"]},
    ],
    "one kind in all and in some namespaces": [
        {"apiVersion": "v1", "kind": "ConfigMap", "excludeNamespaces": ["a"]},
        {"apiVersion": "v1", "kind": "ConfigMap", "namespaces": ["a"], "labelSelector": "x"},
    ],
    "given plurals": [
        {"apiVersion": "example.com/v1", "kind": "Widget", "resource": "widgets", "namespaces": ["a"]},
        {"apiVersion": "example.com/v1", "kind": "Widget", "namespaces": ["b"]},
        {"apiVersion": "other.example.com/v1beta1", "kind": "Part", "resource": "parts"},
        {"apiVersion": "v1", "kind": "Pod", "resource": "pods"},
        {"apiVersion": "events.k8s.io/v1", "kind": "Event", "namespaces": None},
    ],
}


def least(**more: Any) -> dict[str, Any]:
    """Return values with only a URL, and others."""
    return {"config": {"endpoint": {"url": URL}}, **more}


def watching(resources: object) -> dict[str, Any]:
    return {"config": {"endpoint": {"url": URL}, "resources": resources}}


# --- Equal to kustomize


def values_of(name: str) -> dict[str, Any]:
    """Return the values that correspond to an overlay."""
    repository, _, tag = built.container(name)["image"].rpartition(":")
    secrets = [base64.b64decode(each["data"]["token"]).decode() for each in built.of_kind(name, "Secret")]
    # The chart refuses the base's placeholder.
    token = "another" if PLACEHOLDER in secrets else "".join(secrets)
    image = {"repository": repository, "tag": tag}
    values = {"config": yaml.safe_load(built.config(name)), "image": image, "token": token, **OVERLAYS[name]}
    if "testEndpoint" in values:
        (receiver,) = built.pod(name, "beacon-test-endpoint")["containers"]
        repository, _, tag = receiver["image"].rpartition(":")
        values["testEndpoint"] = {"enabled": True, "image": {"repository": repository, "tag": tag}}
    return values


def compared(objects: Iterable[built.Json]) -> dict[tuple[str, ...], Any]:
    """Return the objects by kind, namespace and name, without what differs between Helm and kustomize.

    Helm creates the namespace itself (`--create-namespace`).
    """
    found: dict[tuple[str, ...], Any] = {}
    for each in objects:
        if each["kind"] == "Namespace":
            continue
        plain = without_helms(each)
        if plain["kind"] == "ConfigMap" and "config.yaml" in plain["data"]:
            plain["metadata"]["name"] = "beacon"  # kustomize adds a digest
            plain["data"] = {"config.yaml": yaml.safe_load(plain["data"]["config.yaml"])}
        for volume in plain.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", ()):
            if "configMap" in volume:
                volume["configMap"]["name"] = "beacon"
        if plain["kind"] == "Secret":
            plain["data"] = sorted(plain["data"])
        metadata = plain["metadata"]
        found[plain["kind"], metadata.get("namespace", ""), metadata["name"]] = plain
    return found


def without_helms(node: Any) -> Any:
    """Return a copy without Helm's labels and annotations, and without maps that are empty then."""
    if isinstance(node, list):
        return [without_helms(each) for each in node]
    if not isinstance(node, dict):
        return node
    plain = {key: without_helms(value) for key, value in node.items() if key not in HELMS}
    return {key: value for key, value in plain.items() if value != {} or node[key] == {}}


@pytest.mark.parametrize("name", built.OURS)
def test_the_chart_renders_the_objects_of_kustomize(name: str) -> None:
    rendered = compared(chart.rendered(values_of(name)))
    kustomized = compared(built.objects(name))

    assert set(rendered) == set(kustomized)
    for key, each in kustomized.items():
        assert rendered[key] == each


def test_the_chart_renders_the_monitoring_of_kustomize() -> None:
    rendered = compared(chart.rendered(least(**MONITORED)))
    kustomized = compared(built.objects("overlays/monitoring"))

    assert {key: rendered.get(key) for key in kustomized} == kustomized
    assert len(kustomized) == 3


def test_backups_have_a_volume_of_their_own_that_outlives_the_release() -> None:
    objects = chart.rendered(least(backups={"enabled": True, "storageClass": "nfs"}))

    claim = chart.one(objects, "PersistentVolumeClaim", "beacon-backups")
    spec = chart.one(objects, "Deployment")["spec"]["template"]["spec"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"]["storageClassName"] == "nfs"
    volumes = {each["name"]: each.get("persistentVolumeClaim") for each in spec["volumes"]}
    assert volumes["backups"] == {"claimName": "beacon-backups"}
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    assert mounts["backups"] == "/backups"


# --- The rights of `beacon rbac`


def printed(resources: object) -> list[built.Json]:
    """Return the roles that `beacon rbac` prints."""
    text = yaml.safe_dump({"endpoint": {"url": URL}, "annotation": {"key": "a"}, "resources": resources})
    scopes = configured_scopes.of(loading.parse(text, {}).settings)
    resolved = rbac.resolve(scopes, lambda scope: pytest.fail(f"{scope.id.kind} is not known"))
    assert resolved.problems == ()
    needed = [right for watched in resolved.watched for right in rights.of(watched)]
    holder = rights.Holder(name="beacon", namespace="beacon", account="beacon")
    return rights.manifests([*needed, rights.IDENTITY], holder)


@pytest.mark.parametrize("resources", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_roles_are_those_that_beacon_rbac_prints(resources: object) -> None:
    rendered = chart.rendered(watching(resources))

    assert manifests.roles(rendered) == manifests.roles(printed(resources))


def test_every_built_in_kind_gets_the_rights_that_beacon_rbac_prints() -> None:
    resources = [
        {"apiVersion": f"{group}/v1" if group else "v1", "kind": kind}
        for group, kinds in reference._plurals().items()
        for kind in kinds
    ]

    assert manifests.roles(chart.rendered(watching(resources))) == manifests.roles(printed(resources))


def test_without_identity_no_right_to_kube_system_is_granted() -> None:
    rendered = chart.rendered(least(rbac={"identity": False}))

    (role,) = (each for each in rendered if each["kind"] == "ClusterRole")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (
            [{"apiVersion": "example.com/v1", "kind": "Widget"}],
            UNKNOWN,
        ),
        (
            [{"apiVersion": "v1", "kind": "Node", "namespaces": ["a"]}],
            "config.resources[0]: Node is cluster-wide: remove `namespaces`",
        ),
        ([{"apiVersion": "example.com/v1", "kind": "Widget", "resource": "*"}], "resource"),
    ],
)
def test_rights_that_the_chart_cannot_compute_are_refused_and_never_guessed(resources: object, reason: str) -> None:
    assert reason in chart.refused(watching(resources))


def test_without_roles_a_plural_need_not_be_known() -> None:
    values = watching([{"apiVersion": "example.com/v1", "kind": "Widget"}])

    rendered = chart.rendered({**values, "rbac": {"create": False}})

    assert manifests.roles(rendered) == []


# --- Refusals


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "config.endpoint.url is missing: set the URL that Beacon sends its events to"),
        ({"config": {"endpoints": [{"name": "one"}]}}, "config.endpoint.url is missing"),
        (least(token=PLACEHOLDER), "token: `replace-me` is the placeholder of the examples, and Beacon never sends it"),
        (least(token="a", existingSecret="b"), "token and existingSecret are both set: remove one of them"),
        (least(replicas=2), "replicas: Beacon runs as exactly one replica, because its ledger has one owner"),
        (least(replicaCount=0), "replicaCount: Beacon runs as exactly one replica"),
        (
            {"token": "t", "config": {"endpoints": [{"name": name, "url": URL + name} for name in "ab"]}},
            "token: means the only endpoint",
        ),
    ],
)  # fmt: skip
def test_values_that_cannot_work_are_refused_in_one_sentence(values: dict[str, Any], reason: str) -> None:
    sentence = chart.refused(values)

    assert reason in sentence


@pytest.mark.parametrize(
    ("values", "typo"),
    [
        (least(imagePullSecret=[]), "imagePullSecret"),
        (least(persistence={"sise": "1Gi"}), "sise"),
        ({"config": {"endpoint": {"url": URL, "tiemout": "3s"}}}, "tiemout"),
        ({"config": {"endpoint": {"url": URL}, "wroker": {}}}, "wroker"),
        ({"config": {"endpoints": [{"name": "a", "url": URL, "ulr": URL}]}}, "ulr"),
        ({"config": {"endpoint": {"url": URL, "timeout": "3 parsecs"}}}, "timeout"),
        (watching([{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "a"}]), "namespace"),
        ({"config": {"endpoint": {"url": URL, "headers": {"X-Key": "Bearer replace-me"}}}}, "X-Key"),
        # Helm would write them in another form than they were given.
        ({"config": {"endpoint": {"url": URL}, "annotation": {"values": [1.5]}}}, "/config/annotation/values/0"),
        ({"config": {"endpoint": {"url": URL}, "annotation": {"values": [True]}}}, "/config/annotation/values/0"),
        ({"config": {"endpoint": {"url": URL}, "app": {"version": 1.5}}}, "/config/app/version"),
    ],
)
def test_a_typo_is_refused(values: dict[str, Any], typo: str) -> None:
    assert typo in chart.refused(values)


@pytest.mark.parametrize("typo", [{"persistences": {}}, {"config": {"endpoint": {"url": URL, "tiemout": "3s"}}}])
def test_a_typo_is_refused_by_lint_and_install_as_well(typo: dict[str, Any]) -> None:
    linted = chart.helm("lint", str(chart.PATH), values=least(**typo))
    installed = chart.helm("install", "beacon", str(chart.PATH), "--dry-run=client", values=least(**typo))

    assert (linted.returncode, installed.returncode) == (1, 1)
    for said in (linted.stdout + linted.stderr, installed.stderr):
        assert "tiemout" in said or "persistences" in said


@pytest.mark.parametrize(("version", "accepted"), [("1.23.17", False), ("1.24.0", True), ("1.28.9-eks-1", True)])
def test_a_cluster_that_is_too_old_is_refused(version: str, *, accepted: bool) -> None:
    done = chart.helm("template", "beacon", str(chart.PATH), "--kube-version", version, values=least())

    assert (done.returncode == 0) is accepted
    assert accepted or "chart requires kubeVersion: >=1.24.0-0" in done.stderr


def test_the_environment_may_set_the_url() -> None:
    assert chart.rendered({"extraEnv": [{"name": "ENDPOINT_URL", "value": URL}]})


def test_names_that_look_like_numbers_remain_text() -> None:
    values = least(existingSecret="1", serviceAccount={"name": "2"}, persistence={"storageClass": "3"})

    done = chart.helm("template", "45", str(chart.PATH), "--namespace", "67", values=values)

    for each in yaml.safe_load_all(done.stdout):
        kubernetes_validate.validate(each, manifests.VERSIONS[0], strict=True)


NOTES = {
    "a configmap": (least(), "kubectl annotate configmap hello bakerapps.net.maas=gold"),
    "another kind": (
        {
            "config": {
                "resources": [{"apiVersion": "apps/v1", "kind": "Deployment", "namespaces": ["shop"]}],
                "annotation": {"key": "example.com/a", "values": ["silver"]},
                "endpoint": {"url": URL},
            }
        },
        "kubectl -n shop annotate deployment NAME example.com/a=silver",
    ),
    "the volume": (least(), "keeps the volume with the ledger; `kubectl -n beacon delete pvc beacon` removes it."),
    "no volume": (least(persistence={"enabled": False}), "The ledger is in an emptyDir: it is lost with the pod."),
    "a secret": (least(existingSecret="receiver"), "The pod waits for the Secret receiver with the key `token`:"),
    "no roles": (
        least(rbac={"create": False}),
        "beacon rbac --config config.yaml --namespace beacon --service-account beacon | kubectl apply -f -",
    ),
}


@pytest.mark.parametrize(("values", "sentence"), NOTES.values(), ids=NOTES)
def test_the_notes_state_the_next_step(values: dict[str, Any], sentence: str) -> None:
    done = chart.helm("install", "beacon", str(chart.PATH), "-n", "beacon", "--dry-run=client", values=values)

    assert done.returncode == 0, done.stderr
    assert sentence in done.stdout.partition("NOTES:")[2]


# --- Valid for Helm, Kubernetes and Beacon


@pytest.mark.parametrize("name", chart.CI)
def test_helm_finds_no_fault_in_the_chart(name: str) -> None:
    done = chart.helm("lint", "--strict", str(chart.PATH), values=chart.ci_values(name))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize("version", manifests.VERSIONS)
@pytest.mark.parametrize("name", chart.CI)
def test_every_object_of_the_chart_is_valid_for_kubernetes(name: str, version: str) -> None:
    for each in chart.of_ci(name):
        if manifests.FOREIGN in each["apiVersion"]:
            jsonschema.validate(each, operator_schemas.SCHEMAS[each["kind"]])
        else:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("name", chart.CI)
def test_restricted_admits_every_pod_of_the_chart(name: str) -> None:
    workloads = [each for each in chart.of_ci(name) if "template" in each.get("spec", {})]

    assert workloads
    for workload in workloads:
        assert restricted.violations(workload["spec"]["template"]) == [], workload["metadata"]["name"]


@pytest.mark.parametrize("name", chart.CI)
def test_the_configuration_of_the_chart_loads_without_a_warning(name: str) -> None:
    objects = chart.of_ci(name)
    (container,) = chart.one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    environ = {each["name"]: each["value"] for each in container.get("env", ())}

    loaded = loading.parse(chart.config(objects), environ)

    assert loaded.warnings == ()


def test_every_key_of_the_configuration_passes_verbatim() -> None:
    every = yaml.safe_load((built.ROOT / "docs" / "examples" / "config.yaml").read_text(encoding="utf-8"))
    several = yaml.safe_load((built.ROOT / "docs" / "examples" / "config.yaml").read_text(encoding="utf-8"))
    several["endpoints"] = [several["endpoint"] | {"name": name} for name in ("a", "b")]
    del several["endpoint"]

    for config in (every, several):
        assert yaml.safe_load(chart.config(chart.rendered({"config": config}))) == config


def test_a_text_is_given_to_beacon_as_it_was_quoted() -> None:
    values = least()
    values["config"]["annotation"] = {"values": ["1.10", "on", "0x10", "2024-01-01", "1_000", "010", "null", "~", 7]}

    loaded = loading.parse(chart.config(chart.rendered(values)), {})

    assert loaded.settings.annotation.values == ("1.10", "on", "0x10", "2024-01-01", "1_000", "010", "null", "~", "7")


def test_a_large_number_is_not_rounded_or_written_as_a_float() -> None:
    values = least()
    values["config"]["endpoint"]["concurrency"] = 500
    values["config"]["retention"] = {"retentionPeriod": "8760h"}
    values["config"]["storage"] = {"reserve": 1073741824}

    text = chart.config(chart.rendered(values))

    assert "reserve: 1073741824\n" in text


def test_ports_and_paths_of_the_exporter_are_those_of_the_configuration() -> None:
    values = least()
    values["config"] |= {
        "metrics": {"port": 9100, "path": "/m"},
        "health": {"port": 9101, "livenessPath": "/l", "readinessPath": "/r"},
    }

    objects = chart.rendered({**values, **MONITORED})

    (container,) = chart.one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 9100, "health": 9101}
    probes = [container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert probes == [{"path": path, "port": "health"} for path in ("/l", "/l", "/r")]
    (monitored,) = chart.one(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert monitored["path"] == "/m"
    ingress = chart.one(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for port in ingress[0]["ports"]] == ["http", "health"]


def test_a_changed_configuration_replaces_the_pod_and_nothing_else_does() -> None:
    def digest(values: dict[str, Any]) -> str:
        template = chart.one(chart.rendered(values), "Deployment")["spec"]["template"]
        found: str = template["metadata"]["annotations"]["checksum/config"]
        return found

    changed = least()
    changed["config"]["app"] = {"logLevel": "debug"}

    assert digest(least()) == digest(least(prometheusRule={"enabled": True}))
    assert digest(least()) != digest(changed)


def test_without_a_token_nothing_names_a_secret() -> None:
    objects = chart.rendered(least())

    spec = chart.one(objects, "Deployment")["spec"]["template"]["spec"]
    assert not [each for each in objects if each["kind"] == "Secret"]
    assert "secret" not in {key for volume in spec["volumes"] for key in volume}
    assert "env" not in spec["containers"][0]


def test_a_configuration_with_credentials_is_a_secret_and_is_mounted_as_a_configmap_is() -> None:
    objects = chart.rendered(least(configInSecret=True))

    spec = chart.one(objects, "Deployment")["spec"]["template"]["spec"]
    assert chart.one(objects, "Secret")["stringData"]["config.yaml"]
    assert [volume["secret"] for volume in spec["volumes"] if volume["name"] == "config"] == [{"secretName": "beacon"}]
    assert not [each for each in objects if each["kind"] == "ConfigMap"]


def test_two_releases_share_no_name_and_no_selector() -> None:
    one, other = (chart.rendered(least(**MONITORED), release=release) for release in ("beacon", "shop"))

    def names(objects: list[built.Json]) -> set[tuple[str, str]]:
        return {(each["kind"], each["metadata"]["name"]) for each in objects}

    assert names(one) & names(other) == set()
    for objects, release in ((one, "beacon"), (other, "shop")):
        selector = next(each for each in objects if each["kind"] == "Service")["spec"]["selector"]
        assert selector["app.kubernetes.io/instance"] == release


def test_openshift_is_recognized_by_its_api() -> None:
    objects = chart.rendered(least(), "--api-versions", "security.openshift.io/v1")

    context = chart.one(objects, "Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(context)
    assert context["runAsNonRoot"] is True


@pytest.mark.parametrize(
    ("given", "image"),
    [
        ({}, "beacon:{version}"),
        ({"tag": "1"}, "beacon:1"),
        ({"tag": "1", "digest": f"sha256:{'0' * 64}"}, f"beacon@sha256:{'0' * 64}"),
        ({"repository": "r/b"}, "r/b:{version}"),
    ],
)
def test_the_image_is_that_of_the_release_another_tag_or_a_digest(given: dict[str, str], image: str) -> None:
    (container,) = chart.one(chart.rendered(least(image=given)), "Deployment")["spec"]["template"]["spec"]["containers"]

    assert container["image"] == image.format(version=version())


def test_the_values_and_commands_of_the_page_on_deployment_are_accepted() -> None:
    page = (built.ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    blocks = [block.text for block in documents.blocks(manifests.DEPLOYMENT) if "k8s/chart" in block.text]
    (values,) = re.findall(r"```yaml\n(config:.*?)```", page, re.DOTALL)

    words = [shlex.split(line) for text in blocks for line in text.replace("\\\n", "").splitlines()]
    commands = [given for given in words if given[0] == "helm"]

    assert {given[1] for given in commands} == {"install", "upgrade"}
    for given in commands:
        options = [
            word for word in given if word not in ("helm", "install", "upgrade", "--install", "--create-namespace")
        ]
        done = chart.helm("template", *(str(built.ROOT / word) if word == "k8s/chart" else word for word in options))
        assert done.returncode == 0, done.stderr
    assert chart.rendered(yaml.safe_load(values))


# --- The chart's files


def version() -> str:
    """Return Beacon's version."""
    found: str = tomllib.loads((built.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return found


def test_chart_and_application_have_beacons_version() -> None:
    described = yaml.safe_load((chart.PATH / "Chart.yaml").read_text(encoding="utf-8"))

    assert (described["version"], described["appVersion"]) == (version(), version())


@pytest.mark.parametrize("name", reference.files())
def test_the_generated_files_of_the_chart_are_current(name: str) -> None:
    assert (chart.PATH / name).read_bytes() == reference.files()[name], "run `make schema`"


def test_the_license_of_the_chart_is_the_projects() -> None:
    assert (chart.PATH / "LICENSE").read_bytes() == (built.ROOT / "LICENSE").read_bytes()


def test_the_readme_of_the_chart_lists_every_value_with_its_default() -> None:
    readme = (chart.PATH / "README.md").read_text(encoding="utf-8")
    values = yaml.safe_load((chart.PATH / "values.yaml").read_text(encoding="utf-8"))

    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", readme, re.MULTILINE))

    assert rows == {name: f"`{shown(value)}`" for name, value in leaves(values)}


def leaves(values: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """Return the values that the table lists: those of Kubernetes and of the configuration as a whole."""
    whole = {"config", "resources", "podSecurityContext", "dashboard.labels"}
    found = []
    for key, value in values.items():
        name = f"{path}{key}"
        nested = isinstance(value, dict) and value and name not in whole
        found += leaves(value, f"{name}.") if nested else [(name, value)]
    return found


def shown(value: Any) -> str:
    """Return a default as the table shows it."""
    return "see values.yaml" if isinstance(value, (dict, list)) and value else yaml.safe_dump(value).split("\n")[0]


def test_the_schema_of_the_values_knows_every_value() -> None:
    values = yaml.safe_load((chart.PATH / "values.yaml").read_text(encoding="utf-8"))

    assert set(reference.values_schema()["properties"]) - {"replicas", "replicaCount", "global"} == set(values)


@pytest.mark.parametrize(
    ("pattern", "compiled"),
    [
        (r"^(?:(?!a(b|[)])\)c)d)$", "^(?:d)$"),
        (r"^[^\u0000]*$", r"^[^\x{0000}]*$"),
        (r"(:(?!0+([/?]|$))[0-9]*)?", "(:[0-9]*)?"),
    ],
)
def test_a_pattern_is_changed_to_one_that_go_can_compile(pattern: str, compiled: str) -> None:
    assert reference.for_go(pattern) == compiled


def test_the_package_contains_what_the_templates_read(tmp_path: Path) -> None:
    done = chart.helm("package", str(chart.PATH), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.iterdir()

    template = chart.helm("template", "beacon", str(package), values=least(**MONITORED))

    assert template.returncode == 0, template.stderr
    assert package.name == f"beacon-{version()}.tgz"
