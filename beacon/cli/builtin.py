"""The plurals of the kinds that every Kubernetes serves, so that `beacon rbac` needs no cluster for them.

A plural of Kubernetes' own never changes, and neither does whether a kind lives in namespaces. Only what can be listed
and watched stands here; what a CustomResourceDefinition or an aggregated API adds is discovery's business.
"""

from dataclasses import dataclass

# plural and kind; those below `cluster:` do not live in namespaces.
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
    """How a kind is called in rules, and whether it lives in namespaces."""

    plural: str
    namespaced: bool


def find(group: str, kind: str) -> BuiltinKind | None:
    """Look up a kind of one API group; None when it is none of Kubernetes' own."""
    return _KNOWN.get((group, kind))


def _read() -> dict[tuple[str, str], BuiltinKind]:
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


_KNOWN = _read()
