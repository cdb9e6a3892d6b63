"""Only a ledger of another cluster makes an error of the store a configuration error."""

import pytest

from beacon import errors, wire
from beacon.watcher import status, store_session
from tests.unit.store import world


class Refusing:
    """The link to a store that refuses."""

    def __init__(self, error: errors.BeaconError) -> None:
        self.error = error

    def renew(self) -> None:
        pass

    def call(self, request: wire.AnyRequest) -> wire.Reply:
        assert isinstance(request, wire.OpenStream)
        raise self.error


def opened(error: errors.BeaconError) -> None:
    scope = world.scope_of()
    stream_status = status.StreamStatus(scope, lambda _component, _state: None)
    link = Refusing(error)
    session = store_session.StoreSession(scope, link, stream_status, flush_s=1.0)  # type: ignore[arg-type]
    session.open("configmaps", "c")


def test_another_cluster_is_a_configuration_error() -> None:
    with pytest.raises(errors.ConfigError, match="of cluster a"):
        opened(errors.ForeignClusterError("the ledger is of cluster a"))


@pytest.mark.parametrize(
    "error", [errors.PermanentError("constraint"), wire.ProtocolError("unknown verb"), errors.TransientError("later")]
)
def test_any_other_refusal_is_raised_unchanged(error: errors.BeaconError) -> None:
    with pytest.raises(type(error), match=str(error)) as raised:
        opened(error)

    assert raised.value is error
