"""The built-in resources of a plain cluster, as one table.

Groups and resources are in the order in which a real server lists them. The table must not change at run time.
"""

from beacon.dev.api_server import kinds

# Columns: plural, kind, then options. `cluster`: cluster-scoped; `gen`: has a generation; `s=` short names; `c=`
# categories; `v=` verbs unless all; `stored=` storage version if another; and subresources: a known name, or
# name:Kind:verbs[:group/version].
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


def built_in() -> kinds.Registry:
    """Return a registry of the resources that a plain cluster serves."""
    registry = kinds.Registry()
    group, version = "", ""
    for line in _TABLE.strip().splitlines():
        if line.startswith(" "):
            registry.add(_row(group, version, line.split()))
        else:
            group, _, version = line.rpartition("/")
    return registry


def _row(group: str, version: str, words: list[str]) -> kinds.ServedKind:
    plural, kind, *options = words
    settings = dict(word.split("=") for word in options if "=" in word)
    flags = {"cluster", "gen"}
    return kinds.ServedKind(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        singular=kind.lower(),
        namespaced="cluster" not in options,
        short=_words(settings.get("s")),
        categories=_words(settings.get("c")),
        verbs=_words(settings.get("v")) or kinds.ALL_VERBS,
        subresources=tuple(_subresource(kind, word) for word in options if "=" not in word and word not in flags),
        generation="gen" in options,
        list_kind=f"{kind}List",
        storage_version=settings.get("stored", version),
    )


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _subresource(parent: str, text: str) -> kinds.Subresource:
    if text == "proxy":
        return kinds.Subresource(name=text, kind=f"{parent}ProxyOptions", verbs=kinds.PROXY_VERBS)
    if text == "scale":
        return kinds.Subresource(name=text, kind="Scale", verbs=kinds.STATUS_VERBS, group="autoscaling", version="v1")
    name, kind, verbs, owner = [*text.split(":"), *["", "", ""]][:4]
    group, _, version = owner.rpartition("/")
    return kinds.Subresource(
        name=name, kind=kind or parent, verbs=_words(verbs) or kinds.STATUS_VERBS, group=group, version=version
    )
