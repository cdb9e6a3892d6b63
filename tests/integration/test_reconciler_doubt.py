"""A comparison while the API server starts: its refusal means no missing right at first, and does later."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from beacon import bus, wire
from beacon.cluster import connection, credentials
from beacon.configuration import settings
from beacon.dev.api_server import server as api_server
from beacon.domain import rules
from beacon.reconciler import comparison, reconcile
from beacon.reconciler.reconcile import RoundResult
from beacon.runtime import process, stop_flag


class Store:
    """Takes every comparison."""

    def renew(self) -> None:
        pass

    def call(self, _: wire.AnyRequest) -> wire.Compared:
        return wire.Compared(place=wire.ApplyResult.APPLIED, reached=True)


class World:
    def __init__(self, api: api_server.ApiServer, directory: Path) -> None:
        self.api = api
        self.waited: list[float] = []
        self.ready_after: tuple[int, int] | None = None  # so many waits, and the fault that is removed then
        kubeconfig = api.kubeconfig(directory / "kubeconfig")
        load = credentials.source({"KUBECONFIG": str(kubeconfig)}, connections=2)
        (scope,) = rules.scopes([rules.Entry(api_version="v1", kind="ConfigMap")], annotation="k", values=None)
        deps = comparison.ComparisonDependencies(
            api=connection.Connection(load), link=cast("bus.Link", Store()), wait=self.wait
        )
        context = process.Context("reconciler", run_dir=directory, stop=stop_flag.StopFlag())
        config = settings.Reconciliation(enabled=True, on_startup=True, interval_s=900.0, timeout_s=600.0)
        self.reconciler = reconcile.Reconciler(context, scope, deps, config)

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        if self.ready_after and len(self.waited) >= self.ready_after[0]:
            self.api.faults.remove(self.ready_after[1])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "state").mkdir()
    with api_server.running() as api:
        yield World(api, tmp_path)


def test_a_right_that_was_never_there_is_missing_at_once(world: World) -> None:
    world.api.faults.deny(user="admin", resources=["configmaps"])

    assert world.reconciler.compare() is RoundResult.FAILED
    assert sum(world.waited) < 1


@pytest.mark.parametrize("code", [401, 403, 404, 503])
def test_a_request_that_a_restarted_server_refuses_is_repeated_every_second(world: World, code: int) -> None:
    assert world.reconciler.compare() is RoundResult.COMPLETE
    world.api.faults.refuse(times=1)
    world.waited.clear()
    world.ready_after = (5, world.api.faults.fail(code))

    assert world.reconciler.compare() is RoundResult.COMPLETE
    assert world.waited.count(1.0) >= 3
