"""The declared metrics."""

from collections.abc import Iterable

from beacon.runtime import metrics

# It comes first: see the module.
# isort: split
from prometheus_client.registry import CollectorRegistry
from prometheus_client.samples import Sample


def test_every_metric_has_help_text_a_prefix_and_bounded_labels() -> None:
    allowed = {"kind", "type", "source", "mutation", "scope", "reason", "endpoint", "outcome", "code"}
    allowed |= {"verb", "error", "result", "process", "action", "drift"}
    allowed |= {"table", "resource", "severity", "fate", "repair"}

    for declared in metrics.REGISTRY.collect():
        assert declared.name.startswith("beacon_")
        assert declared.documentation.endswith(".")
    labels = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    assert labels <= allowed


def test_values_added_together_count_like_single_ones() -> None:
    amounts = (0.0, 0.1, 0.1000001, 5.0, 7.5, 1e9)  # on a bound, between two, beyond the last one
    registry = CollectorRegistry()
    together = metrics.BatchHistogram("together", "Test.", ["endpoint"], registry=registry, buckets=(0.1, 1, 5))
    single = metrics.BatchHistogram("single", "Test.", ["endpoint"], registry=registry, buckets=(0.1, 1, 5))

    together.labels(endpoint="a").observe_all(amounts)
    for amount in amounts:
        single.labels(endpoint="a").observe(amount)

    found = {metric.name: metric.samples for metric in registry.collect()}
    assert values_of(found["together"]) == values_of(found["single"])
    assert ("count", 6.0) in [(name.rpartition("_")[2], value) for name, _, value in values_of(found["together"])]


def values_of(samples: Iterable[Sample]) -> list[tuple[str, str, float]]:
    return [
        (one.name.partition("_")[2], one.labels.get("le", ""), one.value)
        for one in samples
        if not one.name.endswith("_created")
    ]
