"""The registry of verbs: each is complete, and carried out by the store."""

import typing
from pathlib import Path

import pytest

from beacon import wire
from tests.unit.store import world


@pytest.mark.parametrize("verb", wire.VERBS.values(), ids=wire.VERBS)
def test_a_request_names_the_reply_of_its_verb(verb: wire.AnyVerb) -> None:
    (base,) = verb.request.__orig_bases__

    (named,) = typing.get_args(base)

    assert named.__forward_arg__ == verb.reply.__name__


def test_the_store_carries_out_each_verb_and_no_other(tmp_path: Path) -> None:
    served = world.World(tmp_path / "e.db").service
    kinds = {verb.request: verb.kind for verb in wire.VERBS.values()}

    assert set(served._readers) == {request for request, kind in kinds.items() if kind is wire.VerbKind.READ}
    assert set(served._writers) == {request for request, kind in kinds.items() if kind is not wire.VerbKind.READ}
