"""The configuration as every process sees it: one frozen tree, declared once, with what is allowed beside each value.

Plain dataclasses, so that a process that is handed the tree over the bus needs no validator: the store alone reads the
file (`beacon.configuration`), and it builds its validator from the declarations here. A key of the file is the
camelCase of its attribute without the unit (`timeout_s` is `timeout`). Durations are seconds, sizes bytes. No secret is
in the tree but header values, which no `repr` shows.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from beacon import codec

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S
LONGEST_S = 100 * YEAR_S
MOST = 2**31 - 1


class ValueKind(StrEnum):
    """How a value is written in the file, where its type does not say so."""

    DURATION = "duration"  # a Go duration string; here seconds
    SIZE = "size"  # bytes with an optional suffix such as 32Mi
    URL = "url"  # http or https, with a host and without user info
    PATH = "path"  # a path of a URL, beginning with a slash
    LABEL = "label"  # a short name, for a label of a metric
    PORT = "port"  # a TCP port; 0 means the default, as in Go
    NAMESPACE = "namespace"  # a DNS-1123 label
    SELECTOR = "selector"  # a label selector


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What the file may say of one value.

    `go`: the Go Beacon has the key, so that what it accepts and makes no sense is put right with a warning instead of
    being refused.
    """

    kind: ValueKind | None = None
    least: float | None = None
    above: float | None = None
    most: float | None = None
    one_of: tuple[str, ...] = ()
    go: bool = True


def _key(default: Any = None, *, required: bool = False, **allowed: Any) -> Any:
    metadata = {"allowed": Allowed(**allowed)}
    if required:
        return field(metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def _duration(default_s: float, *, least: float = 0.001, most: float = LONGEST_S, **allowed: Any) -> Any:
    return _key(default_s, kind=ValueKind.DURATION, least=least, most=most, **allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """`app`: what the process says of itself."""

    name: str = _key("beacon")  # in the log
    version: str = _key("")  # in the log and in User-Agent; the package's version when empty
    log_level: str = _key("info", one_of=("debug", "info", "warn", "error"))
    log_format: str = _key("json", one_of=("json", "text"))
    cluster_name: str = _key("", go=False)  # a part of the CloudEvents source when set


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSettings:
    """One of `resources`: a kind to watch, and which of its objects."""

    api_version: str = _key(required=True)
    kind: str = _key(required=True)
    resource: str = _key("")  # the plural; found by discovery when empty
    namespaces: tuple[str, ...] = _key((), kind=ValueKind.NAMESPACE)  # all when empty
    exclude_namespaces: tuple[str, ...] = _key((), kind=ValueKind.NAMESPACE, go=False)
    label_selector: str = _key("", kind=ValueKind.SELECTOR, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """`annotation`: what makes an object one to tell about."""

    key: str = _key("bakerapps.net.maas")
    values: tuple[str, ...] = _key(())  # accepted values; any when empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """`events`: what is told beside creations and deletions."""

    updated: bool = _key(default=False, go=False)  # a change of the annotation's value


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """`payload`: which metadata of an object is told."""

    annotations: tuple[str, ...] = _key(())  # keys; none when empty
    labels: tuple[str, ...] = _key(())  # keys; all when empty


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvents:
    """`cloudEvents`: attributes of the envelope."""

    source: str = _key("/beacon")  # source is {source}[/{clusterName}]/{namespace}/{Kind}
    type_prefix: str = _key("net.bakerapps.beacon.resource")  # type is {typePrefix}.{created,updated,deleted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """`endpoint.retry`: when a failed request is made again."""

    max_attempts: int = _key(10, least=0, most=MOST)  # 0: no limit
    initial_backoff_s: float = _duration(1.0)
    max_backoff_s: float = _duration(300.0)
    backoff_multiplier: float = _key(2.0, least=1, most=100)
    jitter: float = _key(0.1, least=0, most=1)  # share of the backoff by which it varies


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """`endpoint.breaker`: when the endpoint counts as down, and how often it is probed then."""

    failure_threshold: int = _key(5, least=0, most=MOST, go=False)  # outage-like answers in a row; 0: never
    probe_interval_s: float = _duration(1.0, most=2.0, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """`endpoint.tls`: how an https endpoint is trusted, and how Beacon shows who it is."""

    insecure_skip_verify: bool = _key(default=False)
    ca_file: str = _key("")  # the system's authorities when empty
    cert_file: str = _key("", go=False)
    key_file: str = _key("", go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """`endpoint`: where events go."""

    name: str = _key("default", kind=ValueKind.LABEL, go=False)  # key of its deliveries, label of its metrics
    url: str = _key(required=True, kind=ValueKind.URL)
    method: str = _key("POST", one_of=("POST", "PUT", "PATCH"))
    timeout_s: float = _duration(30.0, most=3600)  # total deadline of one request
    idle_timeout_s: float = _duration(50.0, most=3600, go=False)  # below the 60 s of most load balancers
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, metadata={"allowed": Allowed()})
    retry: Retry = Retry()
    breaker: BreakerSettings = BreakerSettings()
    tls: Tls = Tls()


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """`worker`: how deliveries are fetched and sent."""

    poll_interval_s: float = _duration(5.0, most=3600)  # a lost wake-up is made good within this
    batch_size: int = _key(100, least=1, most=10_000)
    concurrency: int = _key(5, least=1, most=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """`reconciliation`: how often the ledger is compared with the cluster."""

    enabled: bool = _key(default=True)
    on_startup: bool = _key(default=True)
    interval_s: float = _duration(900.0, least=1)
    timeout_s: float = _duration(600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """`retention`: how long what is settled is kept."""

    enabled: bool = _key(default=True)
    cleanup_interval_s: float = _duration(3600.0, least=1)
    retention_period_s: float = _duration(172_800.0, least=1)
    attempts_period_s: float = _duration(172_800.0, least=1, go=False)
    gaps_period_s: float = _duration(2_592_000.0, least=1, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """`storage`: where the ledger is, and when its volume is too full."""

    db_path: str = _key("/data/events.db")
    volume_path: str = _key("/data")
    monitor_interval_s: float = _duration(60.0, least=1)
    warning_threshold: float = _key(80.0, above=0, most=100)  # per cent, of bytes and of inodes
    critical_threshold: float = _key(90.0, above=0, most=100)
    reserve_bytes: int = _key(32 * 1024 * 1024, kind=ValueKind.SIZE, least=0, most=2**60, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """`metrics`: where Prometheus scrapes."""

    enabled: bool = _key(default=True)
    port: int = _key(8080, kind=ValueKind.PORT)
    path: str = _key("/metrics", kind=ValueKind.PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`health`: where the kubelet probes."""

    liveness_path: str = _key("/healthz", kind=ValueKind.PATH)
    readiness_path: str = _key("/ready", kind=ValueKind.PATH)
    port: int = _key(8080, kind=ValueKind.PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration."""

    app: AppSettings = AppSettings()
    resources: tuple[ResourceSettings, ...] = _key(required=True)
    annotation: Annotation = Annotation()
    events: Events = Events()
    payload: Payload = Payload()
    cloud_events: CloudEvents = CloudEvents()
    endpoint: EndpointSettings
    worker: Worker = Worker()
    reconciliation: Reconciliation = Reconciliation()
    retention: Retention = Retention()
    storage: Storage = Storage()
    metrics: Metrics = Metrics()
    health: Health = Health()


def to_plain(tree: Settings) -> dict[str, Any]:
    """Render the tree as plain values, for the bus; header values included."""
    plain: dict[str, Any] = codec.decode(codec.encode(tree))
    return plain


def from_plain(plain: Mapping[str, Any]) -> Settings:
    """Build the tree from what `to_plain` gave.

    Raises:
        msgspec.ValidationError: it is not such a tree.
    """
    return msgspec.convert(plain, Settings)


def digest(tree: Settings) -> str:
    """Name the tree's content in 16 hexadecimal digits."""
    return hashlib.sha256(codec.encode_sorted(tree)).hexdigest()[:16]


def key_of(attribute: str) -> str:
    """Give the file's key of an attribute: `poll_interval_s` -> `pollInterval`."""
    for unit in ("_s", "_bytes"):
        attribute = attribute.removesuffix(unit)
    first, *rest = attribute.split("_")
    return first + "".join(word.capitalize() for word in rest)
