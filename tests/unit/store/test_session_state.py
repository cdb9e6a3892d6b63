"""State in memory agrees with the ledger, whatever was rolled back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beacon.store.ledger import session_state

KEYS: list[session_state.StateKey[object]] = [session_state.StateKey(name) for name in ("a", "b", "c")]
Step = tuple[str, session_state.StateKey[object] | None, int | None]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.none() | st.integers(0, 5)),
        st.tuples(st.sampled_from(["keep request", "drop request", "keep all", "drop all"]), st.none(), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_request_sees_what_was_kept_and_nothing_that_was_rolled_back(
    steps: list[tuple[str, session_state.StateKey[object] | None, int | None]],
) -> None:
    """The model is three dictionaries, each a whole copy of the one below."""
    state = session_state.SessionState()
    kept: dict[session_state.StateKey[object], int | None] = {}
    transaction, request = dict(kept), dict(kept)
    for what, key, value in steps:
        match what:
            case "put":
                assert key is not None
                if value is None:
                    state.remove(key)
                else:
                    state.put(key, value)
                request[key] = value
            case "keep request":
                state.keep_request()
                transaction = dict(request)
            case "drop request":
                state.drop_request()
                request = dict(transaction)
            case "keep all":
                state.keep_request()
                state.keep_all()
                kept = transaction = dict(request)
                request = dict(request)
            case "drop all":
                state.drop_all()
                transaction, request = dict(kept), dict(kept)
        assert {name: state.get(name) for name in KEYS} == {name: request.get(name) for name in KEYS}


def test_a_notification_is_handed_out_once_and_only_after_the_commit() -> None:
    state = session_state.SessionState()
    state.note("kept")
    state.keep_request()
    state.note("undone")
    state.drop_request()
    assert state.keep_all() == ["kept"]

    state.note("lost with its transaction")
    state.keep_request()
    state.drop_all()
    assert state.keep_all() == []


@pytest.mark.parametrize("falsy", [0, "", (), False])
def test_a_value_that_is_false_is_a_value(falsy: object) -> None:
    state = session_state.SessionState()
    state.put(KEYS[0], 1)
    state.keep_request()
    state.keep_all()

    state.put(KEYS[0], falsy)

    assert state.get(KEYS[0]) == falsy
