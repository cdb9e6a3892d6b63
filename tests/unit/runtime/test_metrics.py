"""The declared metrics."""

from beacon.runtime import metrics


def test_every_metric_has_help_text_a_prefix_and_bounded_labels() -> None:
    allowed = {"kind", "type", "source", "mutation", "scope", "reason", "endpoint", "outcome", "code"}
    allowed |= {"verb", "error", "result", "process", "action", "drift"}
    allowed |= {"table", "resource", "severity", "fate", "repair"}

    for declared in metrics.REGISTRY.collect():
        assert declared.name.startswith("beacon_")
        assert declared.documentation.endswith(".")
    labels = {label for metric in vars(metrics).values() for label in getattr(metric, "_labelnames", ())}
    assert labels <= allowed
