"""Pod Security Standards, profile "restricted" (which includes "baseline"), for Linux pods.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_PROFILES = ("RuntimeDefault", "Localhost")
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
}
_SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")

# Each rule returns True if it is violated. Rules for the pod's spec:
_OF_POD: dict[str, Callable[[Json], object]] = {
    "host namespaces": lambda spec: any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
    "volumes": lambda spec: any(not set(volume) - {"name"} <= _VOLUMES for volume in spec.get("volumes", [])),
}
# Rules for a security context, the pod's or a container's:
_OF_CONTEXT: dict[str, Callable[[Json], object]] = {
    "runAsUser": lambda context: context.get("runAsUser") == 0,
    "sysctls": lambda context: {one["name"] for one in context.get("sysctls", [])} - _SYSCTLS,
    "seLinuxOptions": lambda context: _odd_selinux(context.get("seLinuxOptions", {})),
    "appArmorProfile": lambda context: context.get("appArmorProfile", {}).get("type", _PROFILES[0]) not in _PROFILES,
    "hostProcess": lambda context: context.get("windowsOptions", {}).get("hostProcess"),
}
# Rules for a container; its context includes the values inherited from the pod's:
_OF_CONTAINER: dict[str, Callable[[Json, Json], object]] = {
    "privileged": lambda _, context: context.get("privileged"),
    "allowPrivilegeEscalation": lambda _, context: context.get("allowPrivilegeEscalation") is not False,
    "runAsNonRoot": lambda _, context: context.get("runAsNonRoot") is not True,
    "seccompProfile": lambda _, context: (context.get("seccompProfile") or {}).get("type") not in _PROFILES,
    "capabilities": lambda _, context: _odd_capabilities(context.get("capabilities", {})),
    "procMount": lambda _, context: context.get("procMount", "Default") != "Default",
    "hostPort": lambda one, _: any(port.get("hostPort") for port in one.get("ports", [])),
    "probe's host": lambda one, _: any(_names_host(one.get(probe, {})) for probe in _PROBES),
}


def violations(template: Json) -> list[str]:
    """Return the names of the rules that a pod template violates."""
    spec = template["spec"]
    context = spec.get("securityContext", {})
    broken = {rule for rule, is_broken in _OF_POD.items() if is_broken(spec)}
    containers = [one for kind in ("initContainers", "containers") for one in spec.get(kind, [])]
    for one in containers:
        whole = context | one.get("securityContext", {})
        broken |= {rule for rule, is_broken in _OF_CONTAINER.items() if is_broken(one, whole)}
    for each in (context, *(one.get("securityContext", {}) for one in containers)):
        broken |= {rule for rule, is_broken in _OF_CONTEXT.items() if is_broken(each)}
    return sorted(broken)


def _odd_capabilities(given: Json) -> bool:
    return "ALL" not in given.get("drop", []) or not set(given.get("add", [])) <= {"NET_BIND_SERVICE"}


def _odd_selinux(options: Json) -> bool:
    return options.get("type", "") not in _SELINUX_TYPES or bool(options.get("user") or options.get("role"))


def _names_host(probe: Json) -> bool:
    return any(probe.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket"))
