"""What was acknowledged is on the disk, not in a cache: a power cut loses none of it."""

from pathlib import Path

import pytest

from beacon import wire
from beacon.domain import model
from beacon.store.server import service
from tests.unit.store import power, world


@pytest.mark.parametrize("batch", [1, 7])
def test_a_power_cut_after_any_acknowledgement_loses_nothing_acknowledged(tmp_path: Path, batch: int) -> None:
    volume = power.Volume(f"power-{batch}")
    before = tmp_path / "before"
    before.mkdir()
    store = world.World(before / "e.db", vfs=f"power-{batch}")
    store.open()
    store.relist(10)
    position = 10

    for round_ in range(5):
        jobs = []
        for _ in range(batch):
            line = world.seen(f"o{position}", position + 1, model.ChangeKind.ADDED)
            request = store.observation(position, position + 1, line)
            jobs.append(service.QueuedRequest(sender=position, request=request, ledger=store.service.ledger_id))
            position += 1
        replies = store.service.process(jobs)
        assert all(isinstance(reply, wire.PositionReply) and reply.cursor for _, reply in replies)
        after = tmp_path / f"after-{round_}"
        after.mkdir()
        volume.after_power_cut(after)

        survivor = world.World(after / "e.db")

        assert survivor.open().cursor == position
        assert len(survivor.events()) == position - 10
        survivor.ledger.close()
    store.ledger.close()


def test_a_power_cut_after_a_settlement_was_acknowledged_sends_nothing_again(tmp_path: Path) -> None:
    volume = power.Volume("power-settle")
    (tmp_path / "before").mkdir()
    store = world.World(tmp_path / "before" / "e.db", vfs="power-settle")
    store.open()
    store.relist(10, world.seen("a", 5))
    assert len(store.deliver_all()) == 1
    (tmp_path / "after").mkdir()
    volume.after_power_cut(tmp_path / "after")

    survivor = world.World(tmp_path / "after" / "e.db")

    assert len(survivor.events()) == 1
    assert survivor.deliver_all() == []
    survivor.ledger.close()
    store.ledger.close()
