"""A minimal, fast HTTP client: `python -m tests.bench.hammer PORT COUNT`.

It sends requests over a few connections and prints the seconds that they took: a lower bound of the sink's capacity.
"""

import socket
import sys
import time

_CONNECTIONS = 8
_BODY = b"{" + b" " * 800 + b"}"  # about as long as an event
_REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


def main(port: int, count: int) -> None:
    lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(_CONNECTIONS)]
    began = time.monotonic()
    for _ in range(count // _CONNECTIONS):
        for line in lines:
            line.sendall(_REQUEST)
        for line in lines:
            line.recv(65536)
    sys.stdout.write(str(time.monotonic() - began))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
