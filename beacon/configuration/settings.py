"""The configuration as every process sees it: one frozen tree, declared once, with the allowed values.

Plain dataclasses, so that a process that receives the tree over the bus needs no validator. Only the store reads the
file (`beacon.configuration`), with a validator built from the declarations here. A key of the file is the camelCase of
its attribute without the unit (`timeout_s` is `timeout`). Durations are seconds, sizes bytes. The tree contains no
secret except header values, which no `repr` shows.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import msgspec

from beacon import codec
from beacon.domain import instants, model

MOST = 2**31 - 1
PROXY_OF_ENVIRONMENT, NO_PROXY = "env", "none"  # instead of a proxy's URL

T = TypeVar("T")


class ValueKind(StrEnum):
    """The notation of a value in the file, where its type does not determine it."""

    DURATION = "duration"  # a Go duration string; seconds in the tree
    SIZE = "size"  # bytes with an optional suffix such as 32Mi
    URL = "url"  # http or https, with a host and without user info
    PATH = "path"  # a path of a URL, beginning with a slash
    LABEL = "label"  # a short name, for a label of a metric
    PORT = "port"  # a TCP port; 0 means the default, as in Go
    NAMESPACE = "namespace"  # a DNS-1123 label
    SELECTOR = "selector"  # a label selector
    GROUP_KIND = "group-kind"  # a kind with its API group, such as Deployment.apps; Pod in the core group
    PATTERN = "pattern"  # a shell pattern for names
    PROXY_URL = "proxy-url"  # http, https, socks5 or socks5h, with a host and without user info
    STATUS = "status"  # an HTTP status that may park an endpoint
    PARAMETERS = "parameters"  # names and values, which are no secrets
    HEADER_FILES = "header-files"  # names of headers, each with the file that holds its value


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The values that the file may set.

    `go`: the Go Beacon has the key. A value that it accepts although it makes no sense is corrected with a warning
    instead of rejected.
    """

    kind: ValueKind | None = None
    least: float | None = None
    above: float | None = None
    most: float | None = None
    one_of: tuple[str, ...] = ()
    go: bool = True


def _key(
    default: T,
    *,
    kind: ValueKind | None = None,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    one_of: tuple[str, ...] = (),
    go: bool = True,
) -> T:
    allowed = Allowed(kind=kind, least=least, above=above, most=most, one_of=one_of, go=go)
    return field(default=default, metadata={"allowed": allowed})


def _duration(default_s: float, *, least: float = 0.001, most: float = instants.LONGEST_S, go: bool = True) -> float:
    return _key(default_s, kind=ValueKind.DURATION, least=least, most=most, go=go)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """`app`: the identity and the log of the processes."""

    name: str = _key("beacon")  # in the log
    version: str = _key("")  # in the log and in User-Agent; the package's version when empty
    log_level: str = _key("info", one_of=("debug", "info", "warn", "error"))
    log_format: str = _key("json", one_of=("json", "text"))
    cluster_name: str = _key("", go=False)  # a part of the CloudEvents source when set


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSettings:
    """One of `resources`: a kind to watch, and which of its objects."""

    api_version: str = field(metadata={"allowed": Allowed()})
    kind: str = field(metadata={"allowed": Allowed()})
    resource: str = _key("")  # the plural; found by discovery when empty
    namespaces: tuple[str, ...] = _key((), kind=ValueKind.NAMESPACE)  # all when empty
    exclude_namespaces: tuple[str, ...] = _key((), kind=ValueKind.NAMESPACE, go=False)
    label_selector: str = _key("", kind=ValueKind.SELECTOR, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """`annotation`: the annotation that selects the watched objects."""

    key: str = _key("bakerapps.net.maas")
    values: tuple[str, ...] = _key(())  # accepted values; any when empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """`events`: the optional event types."""

    updated: bool = _key(default=False, go=False)  # a change of the annotation's value


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """`payload`: the metadata of an object that its events contain."""

    annotations: tuple[str, ...] = _key(())  # keys; none when empty
    labels: tuple[str, ...] = _key(())  # keys; all when empty


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvents:
    """`cloudEvents`: attributes of the envelope."""

    source: str = _key("/beacon")  # source is {source}[/{clusterName}]/{namespace}/{Kind}
    type_prefix: str = _key("net.bakerapps.beacon.resource")  # type is {typePrefix}.{created,updated,deleted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """`endpoint.retry`: when a failed request is repeated."""

    max_attempts: int = _key(10, least=0, most=MOST)  # 0: no limit
    initial_backoff_s: float = _duration(1.0)
    max_backoff_s: float = _duration(300.0)
    backoff_multiplier: float = _key(2.0, least=1, most=100)
    jitter: float = _key(0.1, least=0, most=1)  # share of the backoff by which it varies


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """`endpoint.breaker`: when the endpoint counts as down, and how often it is then probed."""

    failure_threshold: int = _key(5, least=0, most=MOST, go=False)  # consecutive outage-like responses; 0: never
    probe_interval_s: float = _duration(1.0, most=2.0, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """`endpoint.park`: which refusals speak against the endpoint and not against their events."""

    enabled: bool = _key(default=True, go=False)
    after: int = _key(3, least=1, most=10_000, go=False)  # different objects in a row
    statuses: tuple[int, ...] = _key((401, 403, 404, 405, 407, 410), kind=ValueKind.STATUS, go=False)
    max_probe_interval_s: float = _duration(300.0, least=1, most=86_400, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """`endpoint.tls`: how Beacon verifies an https endpoint, and its client certificate."""

    insecure_skip_verify: bool = _key(default=False)
    ca_file: str = _key("")  # the system's authorities when empty
    cert_file: str = _key("", go=False)
    key_file: str = _key("", go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """`endpoint.proxy`: the proxy to the endpoint. In the file, `env` and `none` stand instead of the mapping."""

    url: str = _key(PROXY_OF_ENVIRONMENT, kind=ValueKind.PROXY_URL, go=False)
    username: str = _key("", go=False)
    password_file: str = _key("", go=False)

    @property
    def is_configured(self) -> bool:
        """Return True if `url` is that of a proxy."""
        return self.url not in (PROXY_OF_ENVIRONMENT, NO_PROXY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """`endpoint.auth.bearer`: a token in a file."""

    token_file: str = _key("", go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """`endpoint.auth.basic`: a user, and the password in a file."""

    username: str = _key("", go=False)
    password_file: str = _key("", go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    """`endpoint.auth.oauth2`: a token that is obtained with the credentials of a client (RFC 6749, 4.4)."""

    token_url: str = _key("", kind=ValueKind.URL, go=False)
    client_id: str = _key("", go=False)
    client_secret_file: str = _key("", go=False)
    scopes: tuple[str, ...] = _key((), go=False)
    params: Mapping[str, str] = field(
        default_factory=dict, metadata={"allowed": Allowed(kind=ValueKind.PARAMETERS, go=False)}
    )
    client_auth: str = _key("basic", one_of=("basic", "body"), go=False)
    ca_file: str = _key("", go=False)
    timeout_s: float = _duration(10.0, most=600, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """`endpoint.auth`: the credentials of each request; at most one of `bearer`, `basic` and `oauth2`."""

    header_files: Mapping[str, str] = field(
        default_factory=dict, metadata={"allowed": Allowed(kind=ValueKind.HEADER_FILES, go=False)}
    )
    bearer: Bearer = Bearer()
    basic: Basic = Basic()
    oauth2: OAuth2 = OAuth2()

    @property
    def schemes(self) -> tuple[str, ...]:
        """Return the keys that set the Authorization header."""
        client = self.oauth2
        named = {
            "bearer": self.bearer.token_file,
            "basic": self.basic.username or self.basic.password_file,
            "oauth2": client.token_url or client.client_id or client.client_secret_file,
        }
        return tuple(name for name, value in named.items() if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """`endpoint.signing`: the secrets with which each request is signed, one signature for each."""

    secret_files: tuple[str, ...] = _key((), go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """`endpoint.select`: the events that the endpoint gets; an empty list means all."""

    kinds: tuple[str, ...] = _key((), kind=ValueKind.GROUP_KIND, go=False)
    namespaces: tuple[str, ...] = _key((), kind=ValueKind.PATTERN, go=False)
    names: tuple[str, ...] = _key((), kind=ValueKind.PATTERN, go=False)
    types: tuple[str, ...] = _key((), one_of=tuple(model.EventType), go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """`endpoint.exclude`: objects that the endpoint does not get, although they are selected; all keys must match."""

    kinds: tuple[str, ...] = _key((), kind=ValueKind.GROUP_KIND, go=False)
    namespaces: tuple[str, ...] = _key((), kind=ValueKind.PATTERN, go=False)
    names: tuple[str, ...] = _key((), kind=ValueKind.PATTERN, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """`endpoint`, or one of `endpoints`: a receiver of the events."""

    name: str = _key("default", kind=ValueKind.LABEL, go=False)  # key of its deliveries, label of its metrics
    url: str = field(metadata={"allowed": Allowed(kind=ValueKind.URL)})
    method: str = _key("POST", one_of=("POST", "PUT", "PATCH"))
    timeout_s: float = _duration(30.0, most=3600)  # total deadline of one request
    idle_timeout_s: float = _duration(50.0, most=3600, go=False)  # below the 60 s of most load balancers
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, metadata={"allowed": Allowed()})
    retry: Retry = Retry()
    breaker: BreakerSettings = BreakerSettings()
    park: Park = Park()
    tls: Tls = Tls()
    concurrency: int = _key(0, least=0, most=512, go=False)  # 0: worker.concurrency
    rate: float = _key(0.0, least=0, most=100_000, go=False)  # requests a second; 0: no limit
    proxy: ProxySettings = ProxySettings()
    auth: Auth = Auth()
    signing: Signing = Signing()
    select: Select = Select()
    exclude: Exclude = Exclude()
    start: str = _key("created", one_of=("created", "now"), go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """`worker`: how deliveries are fetched and sent."""

    poll_interval_s: float = _duration(5.0, most=3600)  # longest delay after a lost wake-up
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
    """`retention`: how long settled rows are kept."""

    enabled: bool = _key(default=True)
    cleanup_interval_s: float = _duration(3600.0, least=1)
    retention_period_s: float = _duration(172_800.0, least=1)
    attempts_period_s: float = _duration(172_800.0, least=1, go=False)
    gaps_period_s: float = _duration(2_592_000.0, least=1, go=False)
    failed_period_s: float = _duration(0.0, least=0, go=False)  # failed deliveries are discarded then; 0: never


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """`storage`: the ledger's file, and the thresholds of its volume."""

    db_path: str = _key("/data/events.db")
    volume_path: str = _key("")  # the directory of db_path when empty
    monitor_interval_s: float = _duration(60.0, least=1)
    warning_threshold: float = _key(80.0, above=0, most=100)  # per cent, of bytes and of inodes
    critical_threshold: float = _key(90.0, above=0, most=100)
    reserve_bytes: int = _key(32 * 1024 * 1024, kind=ValueKind.SIZE, least=0, most=2**60, go=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """`backup`: scheduled copies of the ledger on another volume."""

    interval_s: float = _duration(0.0, least=0, go=False)  # 0: off
    keep: int = _key(3, least=1, most=1000, go=False)  # older ones are removed
    path: str = _key("", go=False)  # a directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """`metrics`: the endpoint that Prometheus scrapes."""

    enabled: bool = _key(default=True)
    port: int = _key(8080, kind=ValueKind.PORT)
    path: str = _key("/metrics", kind=ValueKind.PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`health`: the endpoints that the kubelet probes."""

    liveness_path: str = _key("/healthz", kind=ValueKind.PATH)
    readiness_path: str = _key("/ready", kind=ValueKind.PATH)
    port: int = _key(8080, kind=ValueKind.PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The complete configuration."""

    app: AppSettings = AppSettings()
    resources: tuple[ResourceSettings, ...] = field(metadata={"allowed": Allowed()})
    annotation: Annotation = Annotation()
    events: Events = Events()
    payload: Payload = Payload()
    cloud_events: CloudEvents = CloudEvents()
    endpoints: tuple[EndpointSettings, ...] = field(metadata={"allowed": Allowed()})  # `endpoint` of the file: one
    worker: Worker = Worker()
    reconciliation: Reconciliation = Reconciliation()
    retention: Retention = Retention()
    storage: Storage = Storage()
    backup: BackupSettings = BackupSettings()
    metrics: Metrics = Metrics()
    health: Health = Health()

    @property
    def endpoint(self) -> EndpointSettings:
        """Return the only endpoint, for all that handles one."""
        return self.endpoints[0]


def to_plain(tree: Settings) -> dict[str, object]:
    """Return the tree as plain values, for the bus; header values included."""
    plain: dict[str, object] = codec.decode(codec.encode(tree))
    return plain


def from_plain(plain: Mapping[str, object]) -> Settings:
    """Build the tree from the result of `to_plain`.

    Raises:
        msgspec.ValidationError: the values are not such a tree.
    """
    return msgspec.convert(plain, Settings)


def digest(tree: Settings) -> str:
    """Compute a digest of the tree, 16 hexadecimal digits."""
    return hashlib.sha256(codec.encode_sorted(tree)).hexdigest()[:16]


_UPPER = {"url": "URL", "id": "ID"}  # as Kubernetes writes them, except at the beginning


def key_of(attribute: str) -> str:
    """Return the file's key of an attribute: `poll_interval_s` -> `pollInterval`."""
    for unit in ("_s", "_bytes"):
        attribute = attribute.removesuffix(unit)
    first, *rest = attribute.split("_")
    return first + "".join(_UPPER.get(word) or word.capitalize() for word in rest)
