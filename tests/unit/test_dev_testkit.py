"""The parts of the test kit that work without a Beacon."""

import socket
import subprocess
import sys

from beacon.dev import testkit


def reserved_elsewhere(port: int) -> bool:
    """Return True if another process can reserve a port."""
    code = "import sys; from beacon.dev import testkit; print(testkit._reserve(int(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, str(port)], capture_output=True, text=True, check=True)
    return done.stdout == "True\n"


def test_a_free_port_is_given_to_one_process_only_and_can_be_bound() -> None:
    port = testkit.free_port()

    assert not reserved_elsewhere(port)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]

        assert not testkit._reserve(port)

    assert reserved_elsewhere(port)
