"""Memory beside the ledger says what the ledger says, whatever was undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.store import session_state

KEYS = ("a", "b", "c")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.none() | st.integers(0, 5)),
        st.tuples(st.sampled_from(["keep request", "drop request", "keep all", "drop all"]), st.none(), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_is_seen_is_what_was_kept(steps: list[tuple[str, str | None, int | None]]) -> None:
    """The model is three dictionaries, each a whole copy of the one below."""
    remembered = session_state.SessionState()
    kept: dict[str, int | None] = {}
    transaction, request = dict(kept), dict(kept)
    for what, key, value in steps:
        match what:
            case "put":
                assert key is not None
                remembered.put(key, value)
                request[key] = value
            case "keep request":
                remembered.keep_request()
                transaction = dict(request)
            case "drop request":
                remembered.drop_request()
                request = dict(transaction)
            case "keep all":
                remembered.keep_request()
                remembered.keep_all()
                kept = transaction = dict(request)
                request = dict(request)
            case "drop all":
                remembered.drop_all()
                transaction, request = dict(kept), dict(kept)
        assert {name: remembered.get(name) for name in KEYS} == {name: request.get(name) for name in KEYS}


def test_what_is_to_be_said_is_said_once_and_only_when_it_is_a_fact() -> None:
    remembered = session_state.SessionState()
    remembered.note("kept")
    remembered.keep_request()
    remembered.note("undone")
    remembered.drop_request()
    assert remembered.keep_all() == ["kept"]

    remembered.note("lost with its transaction")
    remembered.keep_request()
    remembered.drop_all()
    assert remembered.keep_all() == []


@pytest.mark.parametrize("falsy", [0, "", (), False])
def test_a_value_that_is_false_is_a_value(falsy: object) -> None:
    remembered = session_state.SessionState()
    remembered.put("a", 1)
    remembered.keep_request()
    remembered.keep_all()

    remembered.put("a", falsy)

    assert remembered.get("a") == falsy
