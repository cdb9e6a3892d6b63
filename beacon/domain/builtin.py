"""The plurals and short names of Kubernetes' built-in kinds, for which no API server is needed.

Neither the plural of a built-in kind nor its scope (namespaced or cluster-wide) ever changes. The table holds only
kinds that can be listed and watched. Custom resources and aggregated APIs are not listed here; they need discovery.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# Plural and kind; the kinds below `cluster:` are cluster-wide.
_TABLE = """
v1
  configmaps ConfigMap
  endpoints Endpoints
  events Event
  limitranges LimitRange
  persistentvolumeclaims PersistentVolumeClaim
  pods Pod
  podtemplates PodTemplate
  replicationcontrollers ReplicationController
  resourcequotas ResourceQuota
  secrets Secret
  serviceaccounts ServiceAccount
  services Service
  cluster:
  namespaces Namespace
  nodes Node
  persistentvolumes PersistentVolume
admissionregistration.k8s.io
  cluster:
  mutatingwebhookconfigurations MutatingWebhookConfiguration
  validatingadmissionpolicies ValidatingAdmissionPolicy
  validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding
  validatingwebhookconfigurations ValidatingWebhookConfiguration
apiextensions.k8s.io
  cluster:
  customresourcedefinitions CustomResourceDefinition
apiregistration.k8s.io
  cluster:
  apiservices APIService
apps
  controllerrevisions ControllerRevision
  daemonsets DaemonSet
  deployments Deployment
  replicasets ReplicaSet
  statefulsets StatefulSet
autoscaling
  horizontalpodautoscalers HorizontalPodAutoscaler
batch
  cronjobs CronJob
  jobs Job
certificates.k8s.io
  cluster:
  certificatesigningrequests CertificateSigningRequest
coordination.k8s.io
  leases Lease
discovery.k8s.io
  endpointslices EndpointSlice
events.k8s.io
  events Event
flowcontrol.apiserver.k8s.io
  cluster:
  flowschemas FlowSchema
  prioritylevelconfigurations PriorityLevelConfiguration
networking.k8s.io
  ingresses Ingress
  networkpolicies NetworkPolicy
  cluster:
  ingressclasses IngressClass
  ipaddresses IPAddress
  servicecidrs ServiceCIDR
node.k8s.io
  cluster:
  runtimeclasses RuntimeClass
policy
  poddisruptionbudgets PodDisruptionBudget
rbac.authorization.k8s.io
  rolebindings RoleBinding
  roles Role
  cluster:
  clusterrolebindings ClusterRoleBinding
  clusterroles ClusterRole
resource.k8s.io
  resourceclaims ResourceClaim
  resourceclaimtemplates ResourceClaimTemplate
  cluster:
  deviceclasses DeviceClass
  resourceslices ResourceSlice
scheduling.k8s.io
  cluster:
  priorityclasses PriorityClass
storage.k8s.io
  csistoragecapacities CSIStorageCapacity
  cluster:
  csidrivers CSIDriver
  csinodes CSINode
  storageclasses StorageClass
  volumeattachments VolumeAttachment
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinKind:
    """The plural of a kind, as RBAC rules name it, and whether the kind is namespaced."""

    plural: str
    namespaced: bool


def kind_of(word: str) -> str:
    """Return the built-in kind for a kind, plural or short name in any case, as kubectl accepts them; else ""."""
    return _BY_WORD.get(word.lower(), "")


def is_namespaced(kind: str) -> bool | None:
    """Return whether a built-in kind of any API group is namespaced, or None if the kind is not built in."""
    return next((one.namespaced for (_, name), one in _BY_KIND.items() if name == kind), None)


def find(group: str, kind: str) -> BuiltinKind | None:
    """Return a built-in kind of an API group, or None if the kind is not built in."""
    return _BY_KIND.get((group, kind))


def every() -> Mapping[tuple[str, str], BuiltinKind]:
    """Return all built-in kinds by API group and kind."""
    return _BY_KIND


def _parse_table() -> dict[tuple[str, str], BuiltinKind]:
    found = {}
    group, namespaced = "", True
    for line in _TABLE.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            group, namespaced = words[0].removeprefix("v1"), True
        elif words == ["cluster:"]:
            namespaced = False
        else:
            plural, kind = words
            found[group, kind] = BuiltinKind(plural=plural, namespaced=namespaced)
    return found


_SHORT_NAMES = """
  cj CronJob  cm ConfigMap  crd CustomResourceDefinition  crds CustomResourceDefinition
  csr CertificateSigningRequest  deploy Deployment  ds DaemonSet  ep Endpoints  ev Event
  hpa HorizontalPodAutoscaler  ing Ingress  limits LimitRange  netpol NetworkPolicy  no Node  ns Namespace
  pc PriorityClass  pdb PodDisruptionBudget  po Pod  pv PersistentVolume  pvc PersistentVolumeClaim
  quota ResourceQuota  rc ReplicationController  rs ReplicaSet  sa ServiceAccount  sc StorageClass
  sts StatefulSet  svc Service
"""
_WORDS = _SHORT_NAMES.split()
_BY_KIND = _parse_table()
_BY_WORD = {
    **dict(zip(_WORDS[::2], _WORDS[1::2], strict=True)),
    **{one.plural: kind for (_, kind), one in _BY_KIND.items()},
    **{kind.lower(): kind for _, kind in _BY_KIND},
}
