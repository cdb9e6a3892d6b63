"""The ledger's objects can be read through page by page."""

from pathlib import Path

from beacon import wire
from beacon.domain import model
from beacon.store.ledger import endpoints
from tests.unit.store import world
from tests.unit.store.world import seen


def read(of: world.World) -> tuple[list[wire.StoredObject], list[int]]:
    objects: list[wire.StoredObject] = []
    sizes: list[int] = []
    page = wire.ObjectPage(cluster="", epoch=0, objects=(), after="", more=True)
    while page.more:
        reply = of.ask(wire.ReadObjects(after=page.after))
        assert isinstance(reply, wire.ObjectPage)
        page = reply
        objects += page.objects
        sizes.append(len(page.objects))
    return objects, sizes


def test_every_view_of_a_present_object_comes_once_with_its_endpoint(tmp_path: Path) -> None:
    only_a = endpoints.LedgerEndpoint(name="some", url_digest=b"u", selects=lambda *subject: subject[3] == "a")
    made = world.World(tmp_path / "e.db", endpoints_=(endpoints.LedgerEndpoint(name="all"), only_a))
    made.open()
    made.relist(10, *(seen(f"u{number:05}", 5) for number in range(600)), seen("a", 6), seen("b", 7))
    made.observe(10, 11, seen("b", 11, model.ChangeKind.DELETED))

    views: list[wire.StoredView] = []
    page = wire.ViewPage(endpoints=(), views=(), after=0, more=True)
    while page.more:
        page = made.ask(wire.ReadViews(after=page.after))
        views += page.views

    assert sorted((one.endpoint, one.name) for one in views) == [
        ("all", "a"),
        *(("all", f"u{number:05}") for number in range(600)),
        ("some", "a"),
    ]
    assert {(one.kind, one.namespace, one.uid, one.value) for one in views if one.name == "a"} == {
        ("ConfigMap", "ns", "uid-a", "true")
    }
    assert [(one.name, one.url_digest, one.removed, one.unsettled) for one in page.endpoints] == [
        ("all", "", False, 603),
        ("some", "75", False, 1),
    ]


def test_every_object_that_is_not_gone_comes_once_with_what_it_was_judged_by(tmp_path: Path) -> None:
    made = world.World(tmp_path / "e.db")
    made.open()
    made.relist(10, *(seen(f"u{number:05}", 5) for number in range(2500)))
    made.open()
    made.relist(20, *(seen(f"u{number:05}", 5) for number in range(1500, 2500)))

    objects, sizes = read(made)

    assert [one.uid for one in objects] == [f"uid-u{number:05}" for number in range(1500, 2500)]
    assert [one.name for one in objects] == [f"u{number:05}" for number in range(1500, 2500)]
    assert sizes == [0, 0, 0, 500, 500, 0]
    assert {(one.kind, one.state, one.resource_version) for one in objects} == {
        (made.scopes[0].id.kind, model.ObjectState.TRACKED, 5)
    }
    assert {one.judged_by for one in objects} == {one.accepted_by for one in objects} != {""}


def test_an_empty_ledger_is_one_empty_page(tmp_path: Path) -> None:
    assert read(world.World(tmp_path / "e.db")) == ([], [0])
