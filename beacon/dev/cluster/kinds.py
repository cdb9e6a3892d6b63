"""Which resources there are: the built-in ones as a table, custom ones as they come and go.

A kind says how a resource is named, whether it has namespaces and which verbs it knows; discovery and routing both read
it from here. Nothing here holds objects.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
PROXY_VERBS = ("create", "delete", "get", "patch", "update")
STATUS_VERBS = ("get", "patch", "update")
METADATA_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
_MORE_FIELDS = {
    "pods": {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase"},
    "events": {"involvedObject.kind", "involvedObject.name", "involvedObject.namespace", "involvedObject.uid", "type"}
    | {"reason", "reportingComponent", "source"},
    "secrets": {"type"},
    "namespaces": {"status.phase"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A path below an object, such as `status`; an empty group means that of its parent."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A resource as one group and version serve it; versions of it share the storage `(group, plural)`."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    custom: bool = False
    generation: bool = False
    list_kind: str = ""
    storage_version: str = ""

    @property
    def api_version(self) -> str:
        """Return `apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage(self) -> tuple[str, str]:
        """Name the table that holds the objects."""
        # Events are served by two groups and are the same objects in both.
        return "" if self.group == "events.k8s.io" else self.group, self.plural

    @property
    def fields(self) -> frozenset[str]:
        """Name the paths that a field selector may use."""
        return METADATA_FIELDS | _MORE_FIELDS.get(self.plural, set())

    @property
    def has_status(self) -> bool:
        """Say whether the status is written only through its subresource."""
        return any(sub.name == "status" for sub in self.subresources)

    def storage_hash(self) -> str:
        """Return the `storageVersionHash` of discovery."""
        text = f"{self.group}/{self.storage_version or self.version}/{self.kind}"
        return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


# plural, kind, then options: `cluster`, `gen` (has a generation), `s=` short names, `c=` categories, `v=` verbs if not
# all, `stored=` another version in the storage, and subresources: a known name, or name:Kind:verbs[:group/version].
_TABLE = """
v1
  bindings Binding v=create
  componentstatuses ComponentStatus cluster v=get,list s=cs
  configmaps ConfigMap s=cm
  endpoints Endpoints s=ep
  events Event s=ev
  limitranges LimitRange s=limits
  namespaces Namespace cluster s=ns v=create,delete,get,list,patch,update,watch finalize:Namespace:update status
  nodes Node cluster s=no proxy status
  persistentvolumeclaims PersistentVolumeClaim s=pvc status
  persistentvolumes PersistentVolume cluster s=pv status
  pods Pod gen s=po c=all attach:PodAttachOptions:create,get binding:Binding:create ephemeralcontainers:Pod \
eviction:Eviction:create:policy/v1 exec:PodExecOptions:create,get log:Pod:get \
portforward:PodPortForwardOptions:create,get proxy resize:Pod status
  podtemplates PodTemplate
  replicationcontrollers ReplicationController gen s=rc c=all scale status
  resourcequotas ResourceQuota s=quota status
  secrets Secret
  serviceaccounts ServiceAccount s=sa token:TokenRequest:create:authentication.k8s.io/v1
  services Service s=svc c=all proxy status
apiregistration.k8s.io/v1
  apiservices APIService cluster c=api-extensions status
apps/v1
  controllerrevisions ControllerRevision
  daemonsets DaemonSet gen s=ds c=all status
  deployments Deployment gen s=deploy c=all scale status
  replicasets ReplicaSet gen s=rs c=all scale status
  statefulsets StatefulSet gen s=sts c=all scale status
events.k8s.io/v1
  events Event s=ev
authentication.k8s.io/v1
  selfsubjectreviews SelfSubjectReview cluster v=create
  tokenreviews TokenReview cluster v=create
authorization.k8s.io/v1
  localsubjectaccessreviews LocalSubjectAccessReview v=create
  selfsubjectaccessreviews SelfSubjectAccessReview cluster v=create
  selfsubjectrulesreviews SelfSubjectRulesReview cluster v=create
  subjectaccessreviews SubjectAccessReview cluster v=create
autoscaling/v2
  horizontalpodautoscalers HorizontalPodAutoscaler s=hpa c=all status
autoscaling/v1
  horizontalpodautoscalers HorizontalPodAutoscaler s=hpa c=all status
batch/v1
  cronjobs CronJob gen s=cj c=all status
  jobs Job gen c=all status
certificates.k8s.io/v1
  certificatesigningrequests CertificateSigningRequest cluster s=csr approval:CertificateSigningRequest status
networking.k8s.io/v1
  ingressclasses IngressClass cluster gen
  ingresses Ingress gen s=ing status
  ipaddresses IPAddress cluster s=ip
  networkpolicies NetworkPolicy gen s=netpol
  servicecidrs ServiceCIDR cluster status
policy/v1
  poddisruptionbudgets PodDisruptionBudget gen s=pdb status
rbac.authorization.k8s.io/v1
  clusterrolebindings ClusterRoleBinding cluster
  clusterroles ClusterRole cluster
  rolebindings RoleBinding
  roles Role
storage.k8s.io/v1
  csidrivers CSIDriver cluster
  csinodes CSINode cluster
  csistoragecapacities CSIStorageCapacity
  storageclasses StorageClass cluster s=sc
  volumeattachments VolumeAttachment cluster status
admissionregistration.k8s.io/v1
  mutatingwebhookconfigurations MutatingWebhookConfiguration cluster gen c=api-extensions
  validatingadmissionpolicies ValidatingAdmissionPolicy cluster gen c=api-extensions status
  validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding cluster gen c=api-extensions
  validatingwebhookconfigurations ValidatingWebhookConfiguration cluster gen c=api-extensions
apiextensions.k8s.io/v1
  customresourcedefinitions CustomResourceDefinition cluster gen stored=v1beta1 s=crd,crds c=api-extensions status
scheduling.k8s.io/v1
  priorityclasses PriorityClass cluster gen s=pc
coordination.k8s.io/v1
  leases Lease
node.k8s.io/v1
  runtimeclasses RuntimeClass cluster
discovery.k8s.io/v1
  endpointslices EndpointSlice
resource.k8s.io/v1
  deviceclasses DeviceClass cluster gen
  resourceclaims ResourceClaim status
  resourceclaimtemplates ResourceClaimTemplate
  resourceslices ResourceSlice cluster gen
flowcontrol.apiserver.k8s.io/v1
  flowschemas FlowSchema cluster gen status
  prioritylevelconfigurations PriorityLevelConfiguration cluster gen status
"""


@dataclass(slots=True)
class Registry:
    """What is served now, by group and version and then plural; groups keep the order in which they appeared."""

    versions: dict[tuple[str, str], dict[str, Kind]] = field(default_factory=dict)

    def groups(self) -> dict[str, list[str]]:
        """Return the versions of every group, the preferred one first."""
        found: dict[str, list[str]] = {}
        for group, version in self.versions:
            found.setdefault(group, []).append(version)
        return found

    def get(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind served under this path, if any."""
        return self.versions.get((group, version), {}).get(plural)

    def find(self, resource: str) -> Kind:
        """Return the kind called `pods`, `deployments.apps` or, when only one has that plural, `deployments`."""
        plural, _, group = resource.partition(".")
        exact = [kind for kind in self if (kind.plural, kind.group) == (plural, group)]
        if found := exact or [kind for kind in self if not group and plural == kind.plural]:
            return found[0]
        raise KeyError(resource)

    def add(self, kind: Kind) -> None:
        """Serve a kind."""
        self.versions.setdefault((kind.group, kind.version), {})[kind.plural] = kind

    def remove(self, storage: tuple[str, str]) -> None:
        """Stop serving every version of a resource, and its group when nothing else is in it."""
        for version, kinds in list(self.versions.items()):
            if version[0] == storage[0] and storage[1] in kinds:
                del kinds[storage[1]]
                if not kinds:
                    del self.versions[version]

    def __iter__(self) -> Iterator[Kind]:
        """Go through all kinds of all versions."""
        for kinds in self.versions.values():
            yield from kinds.values()


def built_in() -> Registry:
    """Return a registry of what a plain cluster serves."""
    registry = Registry()
    group, version = "", ""
    for line in _TABLE.strip().splitlines():
        if line.startswith(" "):
            registry.add(_row(group, version, line.split()))
        else:
            group, _, version = line.rpartition("/")
    return registry


def custom(definition: Json) -> list[Kind]:
    """Return the kinds that a CustomResourceDefinition serves, one for each served version."""
    spec = definition["spec"]
    names = spec["names"]
    storage_version = next((item["name"] for item in spec["versions"] if item.get("storage")), "")
    return [
        Kind(
            group=spec["group"],
            version=item["name"],
            plural=names["plural"],
            kind=names["kind"],
            singular=names.get("singular") or names["kind"].lower(),
            namespaced=spec["scope"] == "Namespaced",
            short=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            verbs=CUSTOM_VERBS,
            subresources=tuple(_custom_subresources(names["kind"], item)),
            custom=True,
            generation=True,
            list_kind=names.get("listKind") or f"{names['kind']}List",
            storage_version=storage_version,
        )
        for item in spec["versions"]
        if item.get("served")
    ]


def _custom_subresources(kind: str, version: Json) -> Iterator[Subresource]:
    declared = version.get("subresources") or {}
    if "status" in declared:
        yield Subresource(name="status", kind=kind, verbs=STATUS_VERBS)
    if "scale" in declared:
        yield Subresource(name="scale", kind="Scale", verbs=STATUS_VERBS, group="autoscaling", version="v1")


def _row(group: str, version: str, words: list[str]) -> Kind:
    plural, kind, *options = words
    settings = dict(word.split("=") for word in options if "=" in word)
    flags = {"cluster", "gen"}
    return Kind(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        singular=kind.lower(),
        namespaced="cluster" not in options,
        short=_words(settings.get("s")),
        categories=_words(settings.get("c")),
        verbs=_words(settings.get("v")) or ALL_VERBS,
        subresources=tuple(_subresource(kind, word) for word in options if "=" not in word and word not in flags),
        generation="gen" in options,
        list_kind=f"{kind}List",
        storage_version=settings.get("stored", version),
    )


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _subresource(parent: str, text: str) -> Subresource:
    if text == "proxy":
        return Subresource(name=text, kind=f"{parent}ProxyOptions", verbs=PROXY_VERBS)
    if text == "scale":
        return Subresource(name=text, kind="Scale", verbs=STATUS_VERBS, group="autoscaling", version="v1")
    name, kind, verbs, owner = [*text.split(":"), *["", "", ""]][:4]
    group, _, version = owner.rpartition("/")
    return Subresource(
        name=name, kind=kind or parent, verbs=_words(verbs) or STATUS_VERBS, group=group, version=version
    )
