"""What a forecast counts, object by object."""

import pytest

from beacon import wire
from beacon.cli import rights
from beacon.cli.commands.plan import model as plan_model
from beacon.cli.commands.plan import rendering
from beacon.domain import model, rules

ACCEPTED, REFUSED = model.RuleVerdict.ACCEPTED, model.RuleVerdict.ANNOTATION
TRACKED, UNMANAGED, RELEASED = model.ObjectState.TRACKED, model.ObjectState.UNMANAGED, model.ObjectState.RELEASED


def scope(namespace: str = "") -> rules.Scope:
    namespaces = (namespace,) if namespace else ()
    entry = rules.Entry(api_version="v1", kind="Pod", namespaces=namespaces)
    return rules.scopes([entry], annotation="a/b", values=None)[0]


SAME = rules.fingerprint(scope().rule, "x")


def row(state: model.ObjectState, *, judged_by: str = SAME, version: int = 5, value: str = "v") -> wire.StoredObject:
    return wire.StoredObject(
        uid="u",
        group="",
        kind="Pod",
        namespace="x",
        state=state,
        epoch=0,
        resource_version=version,
        judged_by=judged_by,
        accepted_by=judged_by,
        value=value,
    )


def ledger(*rows: wire.StoredObject) -> plan_model.Ledger:
    return plan_model.Ledger(cluster="c", epoch=0, objects={one.uid: one for one in rows})


def seen(verdict: model.RuleVerdict, version: int = 6, value: str = "v") -> model.Observation:
    return model.Observation(
        uid="u",
        namespace="x",
        name="n",
        resource_version=version,
        change=model.ChangeKind.LISTED,
        verdict=verdict,
        value=value,
    )


def reckon(observation: model.Observation | None, *rows: wire.StoredObject) -> dict[str, int]:
    reckoned = plan_model.Forecast(scope(), ledger(*rows), updates=True)
    if observation is not None:
        reckoned.see(observation, annotated=True)
    changes = reckoned.finish().changes
    assert changes is not None
    names = ("kept", "new", "updated", "unmanaged", "deleted")
    return {name: getattr(changes, name) for name in names if getattr(changes, name)}


@pytest.mark.parametrize(
    ("observation", "rows", "expected"),
    [
        (seen(ACCEPTED), (), {"new": 1}),
        (seen(ACCEPTED), (row(RELEASED),), {"new": 1}),
        (seen(ACCEPTED), (row(TRACKED),), {"kept": 1}),
        (seen(ACCEPTED, version=5), (row(TRACKED),), {"kept": 1}),
        (seen(ACCEPTED, value="w"), (row(TRACKED),), {"updated": 1}),
        (seen(ACCEPTED), (row(UNMANAGED),), {"kept": 1}),
        (seen(REFUSED), (row(TRACKED, judged_by="other-rule"),), {"unmanaged": 1}),
        (seen(REFUSED), (row(UNMANAGED, judged_by="other-rule"),), {}),
        (seen(REFUSED), (row(TRACKED),), {"deleted": 1}),
        (seen(REFUSED), (row(RELEASED),), {}),
        (None, (row(TRACKED),), {"deleted": 1}),
        (None, (row(UNMANAGED),), {"deleted": 1}),
        (None, (row(RELEASED),), {}),
    ],
)
def test_an_object_is_counted_under_its_transition(
    observation: model.Observation | None, rows: tuple[wire.StoredObject, ...], expected: dict[str, int]
) -> None:
    assert reckon(observation, *rows) == expected


def test_without_a_ledger_only_existing_objects_are_counted() -> None:
    reckoned = plan_model.Forecast(scope(), None, updates=True)
    reckoned.see(seen(ACCEPTED), annotated=True)
    reckoned.see(None, annotated=True)
    reckoned.see(None, annotated=False)

    counts = reckoned.finish()

    assert (counts.objects, counts.annotated, counts.matching, counts.changes) == (3, 2, 1, None)


def outlook(*, missing: tuple[rights.Right, ...] = (), rows: tuple[wire.StoredObject, ...] = ()) -> rendering.Outlook:
    held = ledger(*rows)
    counts = plan_model.Forecast(scope("y"), held, updates=True).finish()
    return rendering.Outlook(
        cluster=rendering.ClusterOutlook(uid="c", identified=True),
        found=[rendering.ScopeOutlook(scope=scope("y"), plural="pods", missing=missing, counts=counts)],
        ledger=held,
        left_out="",
    )


def test_objects_that_are_left_behind_are_to_be_reviewed() -> None:
    values = rendering.plain(outlook(rows=(row(TRACKED),)), [scope("y")])

    assert values["review"] == ["1 object will be unmanaged: their changes are no longer sent"]
    lines = list(rendering.lines(values, ""))
    assert lines[1:3] == ["Review before you apply it:", f"  {values['review'][0]}"]
    assert rendering.plain(outlook(), [scope("y")])["review"] == []


@pytest.mark.parametrize(
    ("config", "option"), [("", ""), ("-", " --config FILE"), ("my file.yaml", " --config 'my file.yaml'")]
)
def test_missing_rights_name_the_command_that_grants_them(config: str, option: str) -> None:
    missing = rights.of(rights.Watched(group="", plural="pods", namespace="y"))

    lines = list(rendering.lines(rendering.plain(outlook(missing=missing), [scope("y")]), config))

    assert f"To grant the missing rights: beacon rbac{option} | kubectl apply -f -" in lines
    complete = rendering.lines(rendering.plain(outlook(), [scope("y")]), config)
    assert not any("beacon rbac" in one for one in complete)


@pytest.mark.parametrize(("uid", "kept"), [("u", 1), ("", 0)])
def test_an_object_that_cannot_be_read_is_not_counted_as_deleted(uid: str, kept: int) -> None:
    reckoned = plan_model.Forecast(scope(), ledger(row(model.ObjectState.TRACKED)), updates=True)
    reckoned.pass_by(uid, "a/b", "its labels can't be read")

    counts = reckoned.finish()

    assert counts.changes is not None
    assert (counts.objects, counts.changes.kept, counts.changes.deleted) == (1, kept, 0)
    assert counts.unreadable == ["a/b: its labels can't be read"]


def test_objects_that_no_scope_covers_any_more_are_not_counted_as_deleted() -> None:
    held = ledger(row(TRACKED))

    assert plan_model.leaving([scope("y")], held) == {model.ScopeId(group="", kind="Pod", namespace="x"): 1}
    assert plan_model.leaving([scope("x")], held) == {}
    changes = plan_model.Forecast(scope("y"), held, updates=False).finish().changes
    assert changes == plan_model.Changes()
