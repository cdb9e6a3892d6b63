"""A scrape's text: the processes' metric files added up, and what was asked for, one line a sample.

prometheus_client can do both, for every metric there may be, and parses, sorts and escapes the same thousand labels at
every scrape: that takes twice as long as all else. Here it is done once for each, for the three kinds that Beacon has.
A test holds the result against the library's own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from prometheus_client import utils

from beacon import codec
from beacon.runtime import metrics

_KNOWN = 20_000  # labels that are remembered; bounded by the configuration, as what a scrape shows is


@dataclass(slots=True, kw_only=True)
class Exposed:
    """A metric as a scrape shows it: the values by name and labels."""

    name: str
    kind: str
    text: str
    samples: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """What a metric file calls a value. `below` is a bucket's bound, `count` names the sum of all buckets beside it."""

    metric: str
    text: str
    head: str
    below: float | None
    count: str


def merge(paths: Iterable[Path]) -> list[Exposed]:
    """Add up sound metric files. Of a gauge the value that was set last counts."""
    found: dict[str, Exposed] = {}
    set_at: dict[str, float] = {}
    buckets: dict[str, dict[str, dict[str, float]]] = {}
    for path in paths:
        kind = path.name.partition("_")[0]
        for data, value, at in metrics.entries(path):
            key = _key(data)
            one = found.get(key.metric)
            if one is None:
                one = found[key.metric] = Exposed(name=key.metric, kind=kind, text=key.text)
            if kind != "gauge":
                one.samples[key.head] = one.samples.get(key.head, 0.0) + value
            elif at >= set_at.get(key.head, 0.0):
                one.samples[key.head], set_at[key.head] = value, at
            if key.below is not None:
                buckets.setdefault(key.metric, {}).setdefault(key.count, {})[key.head] = key.below
    for name, histograms in buckets.items():
        _accumulate(found[name], histograms)
    return list(found.values())


def exposed(family: metrics.Family) -> Exposed:
    """Take in a metric that was asked for."""
    made = Exposed(name=family.name, kind=family.type, text=family.documentation)
    for sample in family.samples:
        made.samples[_head(sample.name, tuple(sorted(sample.labels.items())))] = sample.value
    return made


def render(shown: Iterable[Exposed], accept: str) -> tuple[bytes, str]:
    """Render metrics in the format that an Accept header asks for: the body and its content type."""
    content_type = metrics.content_type(accept)
    open_metrics = content_type.startswith("application/openmetrics-text")
    lines: list[str] = []
    for one in shown:
        name = f"{one.name}_total" if one.kind == "counter" and not open_metrics else one.name
        lines += (f"# HELP {name} {one.text}\n", f"# TYPE {name} {one.kind}\n")
        lines += [f"{head} {_number(value)}\n" for head, value in one.samples.items()]
    if open_metrics:
        lines.append("# EOF\n")
    return "".join(lines).encode(), content_type


def _accumulate(one: Exposed, histograms: Mapping[str, Mapping[str, float]]) -> None:
    """Make of what fell into each bucket what fell into it or a smaller one, in the buckets' order."""
    for count, heads in histograms.items():
        total = 0.0
        for head in sorted(heads, key=heads.__getitem__):
            total += one.samples.pop(head)
            one.samples[head] = total
        one.samples[count] = total


@lru_cache(maxsize=_KNOWN)
def _key(data: bytes) -> _Key:
    metric, sample, labels, text = codec.decode(data)
    below = labels.get("le") if sample == f"{metric}_bucket" else None
    rest = tuple(sorted((name, value) for name, value in labels.items() if below is None or name != "le"))
    return _Key(
        metric=metric,
        text=text,
        head=_head(sample, tuple(sorted(labels.items()))),
        below=None if below is None else float(below),
        count="" if below is None else _head(f"{metric}_count", rest),
    )


@lru_cache(maxsize=_KNOWN)
def _head(sample: str, labels: tuple[tuple[str, str], ...]) -> str:
    """Write a sample's name and labels: a text that stands in quotes hides what would end it."""
    said = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{sample}{{{said}}}" if said else sample


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    text: str = utils.floatToGoString(value)  # type: ignore[no-untyped-call]
    return text
