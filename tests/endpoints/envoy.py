"""Envoy's configuration."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
_TYPES = "type.googleapis.com/envoy.extensions"


def configured(values: Mapping[str, Any]) -> Json:
    """Return the configuration with these values."""
    return {
        "static_resources": {
            "listeners": [
                _listener("plain", values, {}),
                _listener("idle", values, {"idle_timeout": _seconds(values["idle_ms"])}),
                _listener("few", values, {"max_requests_per_connection": values["few_requests"]}),
                _listener("tls", values, {"idle_timeout": _seconds(values["idle_ms"])}, tls=str(values["certificate"])),
            ],
            "clusters": [_receiver(values["upstream"])],
        }
    }


def _listener(name: str, values: Mapping[str, Any], protocol: Json, *, tls: str = "") -> Json:
    chain: Json = {"filters": [_typed("envoy.filters.network.http_connection_manager", _manager(values, protocol))]}
    if tls:
        chain["transport_socket"] = _typed("envoy.transport_sockets.tls", _tls(tls))
    return {"name": name, "address": _address(values[name]), "filter_chains": [chain]}


def _manager(values: Mapping[str, Any], protocol: Json) -> Json:
    limited = {
        "envoy.filters.http.local_ratelimit": {
            "@type": f"{_TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "limited",
            "token_bucket": {"max_tokens": 2, "tokens_per_fill": 2, "fill_interval": "1s"},
            "filter_enabled": {"default_value": {"numerator": 100}},
            "filter_enforced": {"default_value": {"numerator": 100}},
            "response_headers_to_add": [{"header": {"key": "Retry-After", "value": "1"}}],
        }
    }
    small = {
        "envoy.filters.http.buffer": {
            "@type": f"{_TYPES}.filters.http.buffer.v3.BufferPerRoute",
            "buffer": {"max_request_bytes": values["small"]},
        }
    }
    slow = {"cluster": "receiver", "timeout": _seconds(values["slow_ms"])}
    plain = {"cluster": "receiver", "timeout": "0s"}
    routes = [
        {"match": {"prefix": "/small"}, "route": plain, "typed_per_filter_config": small},
        {"match": {"prefix": "/limited"}, "route": plain, "typed_per_filter_config": limited},
        {"match": {"prefix": "/slow"}, "route": slow},
        {"match": {"prefix": "/"}, "route": plain},
    ]
    return {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "beacon",
        "codec_type": "HTTP1",
        "drain_timeout": "0.05s",  # both are seconds by default
        "delayed_close_timeout": "0.05s",
        "common_http_protocol_options": protocol,
        "proxy_100_continue": True,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.local_ratelimit",
                "typed_config": {
                    "@type": f"{_TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit",
                    "stat_prefix": "unlimited",
                },
            },
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": {
                    "@type": f"{_TYPES}.filters.http.buffer.v3.Buffer",
                    "max_request_bytes": 16 * 1024 * 1024,
                },
            },
            _typed("envoy.filters.http.router", {"@type": f"{_TYPES}.filters.http.router.v3.Router"}),
        ],
    }


def _receiver(port: int) -> Json:
    endpoint = {"endpoint": {"address": _address(port)}}
    assignment = {"cluster_name": "receiver", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": "receiver", "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment}


def _tls(certificate: str) -> Json:
    files = {"certificate_chain": {"filename": certificate}, "private_key": {"filename": certificate}}
    return {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [files]},
    }


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _typed(name: str, config: Json) -> Json:
    return {"name": name, "typed_config": config}


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000}s"
