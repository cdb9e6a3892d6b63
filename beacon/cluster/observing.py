"""Evaluates an object under a rule: the observation that is sent to the store, if the object is accepted or wanted.

Pure. Watch events, lists and comparisons all use it, so that they can't disagree about an object. An object that is
neither accepted nor wanted costs only the check of its annotations and of a set.
"""

from collections.abc import Container

from beacon.cluster import items
from beacon.domain import model, rules

_LARGEST = 3 * 512 * 1024  # etcd takes no object of more


def observe(
    rule: rules.ScopeRule, item: items.Item, change: model.ChangeKind, wanted: Container[str], *, received_ns: int = 0
) -> model.Observation | None:
    """Return the observation of an object, or None if it is not accepted and its UID is not wanted."""
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
    """Return an error text if an observation is larger than an object may be, else ""."""
    return "its labels and annotations are larger than an object may be" if size(observation) > _LARGEST else ""


def size(observation: model.Observation) -> int:
    """Return the number of characters of the labels and annotations in an observation."""
    maps = (observation.labels, observation.annotations)
    return len(observation.value) + sum(len(key) + len(value) for texts in maps for key, value in texts.items())
