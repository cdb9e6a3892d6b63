"""All measurements, by their names for `make bench ROWS=...`."""

from collections.abc import Mapping

from tests.bench import extremes, flow, million, own, several, sizes, terms, trouble, upkeep

_NAMESPACES = "it creates 200 namespaces"
_OWN = "it makes more objects or changes than a client can"
_FAULTS = "it compacts the API server's history, which only the embedded one supports"

ALL: Mapping[str, terms.Measurement] = {
    "loop": terms.Measurement(measure=own.loop),
    "disk": terms.Measurement(measure=own.disk),
    "sink": terms.Measurement(measure=own.sink),
    "steady": terms.Measurement(measure=flow.seventeen, times=1),
    "hundred": terms.Measurement(measure=flow.hundred, times=1),
    "thousand": terms.Measurement(measure=flow.thousand),
    "twothousand": terms.Measurement(measure=flow.two_thousand, times=1),
    "burst": terms.Measurement(measure=flow.burst),
    "backlog": terms.Measurement(measure=flow.backlog),
    "returned": terms.Measurement(measure=flow.returned),
    "idle": terms.Measurement(measure=trouble.idle, times=1),
    "outage": terms.Measurement(measure=trouble.outage, times=1),
    "killed": terms.Measurement(measure=trouble.killed, times=1),
    "memory": terms.Measurement(measure=sizes.nothing_tracked),
    "added": terms.Measurement(measure=sizes.added),
    "listed": terms.Measurement(measure=sizes.listed, times=1, embedded=_FAULTS),
    "restart": terms.Measurement(measure=sizes.restart),
    "churn": terms.Measurement(measure=extremes.churn, times=1, embedded=_OWN),
    "capacity": terms.Measurement(measure=extremes.capacity, times=1),
    "biglist": terms.Measurement(measure=extremes.big_list, times=1, embedded=_OWN),
    "scopes": terms.Measurement(measure=extremes.scopes, times=1, embedded=_NAMESPACES),
    "million": terms.Measurement(measure=million.compare, times=1, inside=True),
    "prune": terms.Measurement(measure=upkeep.prune, times=1, inside=True),
    "redeliver": terms.Measurement(measure=upkeep.redeliver, times=1, inside=True),
    "down": terms.Measurement(measure=several.down, times=5),
    "catchup": terms.Measurement(measure=several.catch_up, times=5),
    "catchupbeside": terms.Measurement(measure=several.beside_catch_up, times=5),
    "endpoints": terms.Measurement(measure=several.cost, times=5),
    "slow": terms.Measurement(measure=flow.slow),
    "scrape": terms.Measurement(measure=upkeep.scrape, times=1),
}
