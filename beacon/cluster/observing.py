"""What of an object concerns the store: accepted ones, and those it wants to hear of whatever they are now.

Pure. Watch lines, lists and comparisons look with the same eyes, so that they can't disagree about an object. One that
concerns nobody costs a look at its annotations and into a set.
"""

from collections.abc import Container

from beacon.cluster import items
from beacon.domain import model, rules

_LARGEST = 3 * 512 * 1024  # etcd takes no object of more


def look(
    rule: rules.ScopeRule, item: items.Item, change: model.ChangeKind, wanted: Container[str], *, received_ns: int = 0
) -> model.Observation | None:
    """Judge an object under a rule; None: it is not accepted and its UID is not among the wanted."""
    annotations = item.annotations or {}
    labels = item.labels or {}
    verdict = rules.judge(rule, namespace=item.namespace, annotations=annotations, labels=labels)
    if verdict is not model.RuleVerdict.ACCEPTED and item.uid not in wanted:
        return None
    return model.Observation(
        uid=item.uid,
        namespace=item.namespace,
        name=item.name,
        resource_version=item.version,
        change=change,
        verdict=verdict,
        value=annotations.get(rule.annotation, ""),
        labels=rules.kept_labels(rule, labels),
        annotations=rules.kept_annotations(rule, annotations),
        received_ns=received_ns,
    )


def too_large(observation: model.Observation) -> str:
    """Return why an observation is larger than what an object may have, "" if it is not."""
    return "its labels and annotations are larger than an object may be" if size(observation) > _LARGEST else ""


def size(observation: model.Observation) -> int:
    """Return the number of characters of what is kept of an object's labels and annotations."""
    maps = (observation.labels, observation.annotations)
    return len(observation.value) + sum(len(key) + len(value) for texts in maps for key, value in texts.items())
