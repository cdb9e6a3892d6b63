"""The bus between the processes: requests to the store and its replies, over ZeroMQ on a unix socket.

`client` sends, retries and reconnects; `shared_client` shares one among threads; `bus_server` receives and replies. May
import `wire`, `domain`, `codec` and `errors`. Start reading at `client.Client.call`.
"""

from beacon.bus.client import MOST_REPLY, MOST_REQUEST, Client, LedgerChanged, SettingsChanged, address
from beacon.bus.shared_client import Answer, Link, SharedClient

__all__ = [
    "MOST_REPLY",
    "MOST_REQUEST",
    "Answer",
    "Client",
    "LedgerChanged",
    "Link",
    "SettingsChanged",
    "SharedClient",
    "address",
]
