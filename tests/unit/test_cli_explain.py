"""How the object that `beacon explain` is asked for may be written, and why an endpoint does not get it."""

from dataclasses import replace
from typing import Any

import click
import pytest

from beacon import wire
from beacon.cli.commands.explain import endpoints, rendering, target
from beacon.configuration import settings
from beacon.domain import model

SCOPES = [
    wire.ScopeStatistics(
        label="widgets.example.com@a", listed=True, position=1, position_us=1, name="Widget.example.com@a"
    )
]


def explain(what: str, name: str | None = None, namespace: str | None = None) -> wire.Explain:
    return target.request(target.parse(what, name, namespace), SCOPES)


@pytest.mark.parametrize(
    "words",
    [
        ("ConfigMap", "shop/web", None),
        ("configmaps", "shop/web", "shop"),
        ("CONFIGMAP", "web", "shop"),
        ("cm/web", None, "shop"),
        ("configmap/shop/web", None, None),
    ],
)
def test_a_built_in_type_is_taken_as_kubectl_takes_it(words: tuple[str, str | None, str | None]) -> None:
    assert explain(*words) == wire.Explain(kind="ConfigMap", namespace="shop", name="web")


@pytest.mark.parametrize("word", ["Widget", "widgets", "widget", "WIDGETS", "widgets.example.com"])
def test_a_custom_resource_is_resolved_by_its_scope_in_the_store(word: str) -> None:
    assert explain(f"{word}/x", None, "a") == wire.Explain(kind="Widget", namespace="a", name="x")


def test_a_namespace_does_not_matter_where_the_kind_has_none() -> None:
    assert explain("ns", "shop", "default") == wire.Explain(kind="Namespace", name="shop")
    assert explain("deployment.apps/web", None, "a").kind == "Deployment"


def test_an_id_is_taken_as_it_is() -> None:
    assert explain("7b0e2f3c-5a6d") == wire.Explain(target="7b0e2f3c-5a6d")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ConfigMap",), "the name of the ConfigMap is missing"),
        (("cm/web",), "ConfigMap is namespaced"),
        (("cm", "a/b/c"), "is neither NAMESPACE/NAME"),
        (("cm", "a/b", "c"), "'a' or 'c'"),
        (("cm/",), "is neither"),
    ],
)
def test_missing_or_contradictory_arguments_are_a_usage_error(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        explain(*words)


def story(kind: str) -> wire.Explanation:
    return wire.Explanation(
        known=False,
        kind=kind,
        namespace="b",
        name="x",
        objects=(),
        events=(),
        covering=(),
        kinds=("ConfigMap",),
        before=0,
        more=False,
    )


def test_a_namespace_that_is_not_watched_is_named_as_the_cause() -> None:
    assert rendering.why(story("ConfigMap"), [], {}, watched=["c", "a"]) == [
        "The configuration watches ConfigMap only in a, c, not in namespace b."
    ]
    assert rendering.why(story("Secret"), [], {}) == [
        "No scope covers Secret in namespace b: the configuration watches ConfigMap."
    ]


def event(sequence: int, type_: str, endpoint: str = "", **changes: Any) -> wire.EmittedEvent:
    made = wire.EmittedEvent(
        sequence=sequence, id=f"e{sequence}", uid="u", group="apps", kind="Deployment", namespace="shop", name="web",
        type=type_, cause="c", source="s", resource_version="1", detected_us=sequence, endpoint=endpoint,
        state=model.DeliveryState.DELIVERED if endpoint else None, generation=0, counted=0, requests=0,
        next_attempt_us=0, settled_us=0, reason="", behind="", attempts=(),
    )  # fmt: skip
    return replace(made, **changes)


def known(name: str, **changes: Any) -> wire.ExplainedEndpoint:
    made = wire.ExplainedEndpoint(
        name=name, written=0, accepted=0, present=False, catching_up=False, paused_us=0, paused_reason="", removed_us=0
    )
    return replace(made, **changes)


def explained(
    configured: dict[str, dict[str, Any]], *of: wire.ExplainedEndpoint, events: tuple[wire.EmittedEvent, ...] = ()
) -> list[str]:
    given = [{"name": name, "url": "http://s/", **one} for name, one in configured.items()]
    tree = settings.from_plain({"resources": [{"api_version": "v1", "kind": "Pod"}], "endpoints": given})
    answer = replace(
        story("Deployment"), namespace="shop", name="web", endpoints=of, events=events or (event(1, "created"),)
    )
    found = endpoints.of(answer, answer.events, tree.endpoints)
    return list(endpoints.sentences(found, answer.events, alone=len(of) == 1))


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ({"select": {"kinds": ["Pod"]}}, "its select.kinds have no Deployment.apps"),
        ({"select": {"namespaces": ["team-*"]}}, "no pattern of its select.namespaces matches 'shop'"),
        ({"select": {"names": ["a", "b"]}}, "no pattern of its select.names matches 'web'"),
        ({"exclude": {"namespaces": ["sh*"]}}, "its exclude matches the object"),
    ],
)
def test_an_endpoint_that_does_not_select_an_object_is_explained_with_the_key(
    configured: dict[str, Any], expected: str
) -> None:
    found = explained({"a": {}, "b": configured}, known("a"), known("b"), events=(event(1, "created", "a"),))

    assert found == [f"Endpoint b does not get this object: {expected}."]


ONLY_CREATED = {"select": {"types": ["created"]}}


@pytest.mark.parametrize(
    ("configured", "of", "events", "expected"),
    [
        ({}, {}, (event(1, "created", "b"),), []),
        (
            ONLY_CREATED,
            {},
            (event(1, "created", "b"), event(2, "updated"), event(3, "deleted", "a")),
            ["Endpoint b does not get its events of type deleted, updated: its select.types leave them out."],
        ),
        (
            {},
            {"paused_us": 1_000_000, "paused_reason": "upgrade"},
            (event(1, "created", "b"),),
            [
                (
                    "Endpoint b has been paused since 1970-01-01T00:00:01.000000Z (upgrade): nothing is sent until"
                    " beacon resume --endpoint b."
                )
            ],
        ),
        (
            {},
            {"parked_us": 1_000_000, "parked_cause": "not-found"},
            (event(1, "created", "b"),),
            [
                (
                    "Endpoint b has been parked since 1970-01-01T00:00:01.000000Z (not-found): correct the URL, or"
                    " restore its path at the receiver; probes go on until it accepts one, and beacon resume"
                    " --endpoint b sends what it refused again at once."
                )
            ],
        ),
        (
            {},
            {"catching_up": True},
            (event(1, "created", "b"),),
            [
                (
                    "Endpoint b has not been compared with this object yet since its configuration changed: what it"
                    " lacks is sent then."
                )
            ],
        ),
        (
            {"start": "now"},
            {"present": True},
            (event(1, "created", "a"),),
            [
                (
                    "Endpoint b has `start: now`, and the object was tracked before it appeared: only its later"
                    " changes are sent."
                )
            ],
        ),
        ({}, {"present": True}, (event(1, "created", "b"),), []),
        ({"start": "now"}, {"present": True, "written": 2}, (event(2, "updated", "b"),), []),
        (
            {},
            {},
            (event(1, "created", "a"), event(3, "updated", "a"), event(4, "created", "b", alone="b")),
            [
                (
                    "Endpoint b did not get events 1 to 3: its configuration did not select the object then. A catch-up"
                    " sends the present state instead."
                )
            ],
        ),
        ({}, {}, (event(4, "created", "a", alone="a"),), []),
        (None, {"removed_us": 1_000_000}, (event(1, "created", "a"),), []),
        (
            None,
            {"removed_us": 1_000_000, "written": 1},
            (event(1, "created", "b"),),
            [
                (
                    "Endpoint b does not get this object: it has not been in the configuration since"
                    " 1970-01-01T00:00:01.000000Z."
                )
            ],
        ),
    ],
)
def test_why_an_endpoint_lacks_events_is_explained(
    configured: dict[str, Any] | None, of: dict[str, Any], events: tuple[wire.EmittedEvent, ...], expected: list[str]
) -> None:
    both = {"a": {}, **({} if configured is None else {"b": configured})}

    found = explained(both, known("a"), known("b", **of), events=events)

    assert [one for one in found if one.startswith("Endpoint b")] == expected


def test_the_only_endpoint_is_not_explained_as_long_as_it_selects_everything() -> None:
    assert explained({"a": {}}, known("a"), events=(event(1, "created"), event(2, "updated", "a"))) == []


def test_an_event_is_rendered_once_with_each_of_its_deliveries() -> None:
    attempt = wire.RecordedAttempt(
        generation=0, number=1, started_us=1, duration_us=1000, code="200", status=200, error="", counted=True
    )
    events = (
        event(2, "updated"),
        event(1, "created", "b", settled_us=5, attempts=(attempt,)),
        event(1, "created", "a", settled_us=4, attempts=(attempt,)),
    )
    answer = replace(story("Deployment"), endpoints=(known("a", written=1), known("b")))
    of = [endpoints.EndpointStory(known=one, why_not="", types=(), starts_now=False) for one in answer.endpoints]
    values = rendering.plain(answer, events, [], of)

    lines = list(rendering.lines(values))

    assert [one["delivery"] and one["delivery"]["endpoint"] for one in values["events"]] == ["a", "b", None]  # type: ignore[attr-defined]
    assert [line.split("  ", 2)[-1] for line in lines[lines.index("\nendpoints") + 3 :] if "request" in line] == [
        "request 1 to a: 200 after 1.0 ms",
        "request 1 to b: 200 after 1.0 ms",
    ]
    assert sum("created (cause" in line for line in lines) == 1
    assert lines[-1] == "  no endpoint gets it"


def test_an_endpoint_that_is_faulty_or_down_delays_its_events() -> None:
    waiting = event(1, "created", "a", state=model.DeliveryState.READY)
    troubled = {name: rendering.Trouble(state=name, since="T") for name in ("down", "faulty")}

    found = {
        name: rendering.why(story("ConfigMap"), [replace(waiting, endpoint=name)], troubled, watched=[])
        for name in troubled
    }

    assert found == {
        "down": ["Endpoint down has been down since T (breaker open): only probes are sent until it answers."],
        "faulty": [
            (
                "Endpoint faulty has been faulty since T: after an unexpected error of Beacon (see the log of"
                " the notifier) it is tried again by itself."
            )
        ],
    }


def test_a_restored_event_of_a_parked_endpoint_has_no_due_time_and_shows_the_restore() -> None:
    attempt = wire.RecordedAttempt(
        generation=0, number=1, started_us=1, duration_us=1000, code="401", status=401, error="", counted=True
    )
    restored = wire.RecordedAction(generation=1, at_us=2, action=model.OperatorAction.RESTORED, actor="", reason="")
    one = event(
        1, "created", "a", state=model.DeliveryState.READY, requests=2, generation=1, next_attempt_us=3,
        attempts=(attempt, replace(attempt, generation=1, started_us=3, counted=False)), actions=(restored,),
    )  # fmt: skip
    served = replace(story("Deployment"), endpoints=(known("a"),))
    parked = replace(served, endpoints=(known("a", parked_us=2, parked_cause="unauthorized"),))

    (why,) = rendering.why(served, [one], {})
    lines = list(rendering.lines(rendering.plain(parked, [one], [])))

    assert "the next attempt is due at" in why
    assert rendering.why(parked, [one], {}) == []
    assert [line.split("Z  ")[-1] for line in lines[-4:-1]] == [
        "request 1: 401 after 1.0 ms",
        "restored: its refusal spoke against the endpoint, so it is sent again",
        "request 1 of restore 1: 401 after 1.0 ms (does not count)",
    ]


def test_a_type_is_known_if_it_is_configured_or_built_in() -> None:
    assert target.is_known("configmap", story("x"))
    assert target.is_known("Secret", story("x"))
    assert not target.is_known("Deplyment", story("x"))
