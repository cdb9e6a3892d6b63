"""Opens the listening socket on all addresses, or raises the reason why the port can't be opened."""

import errno
import socket

from beacon import errors

_BACKLOG = 1024  # a client that does not fit retries a second later


def listen(host: str, port: int, key: str) -> socket.socket:
    """Listen on `host`, or on all addresses if it is empty; `key` names the port in errors.

    Raises:
        errors.StartError: the port can't be opened.
    """
    dual = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        if dual and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return listen("0.0.0.0", port, key)
        raise start_error(error, port, key) from error


def start_error(error: OSError, port: int, key: str) -> errors.StartError:
    """Return the reason in one sentence, with its exit code."""
    if error.errno == errno.EADDRINUSE:
        return errors.StartError(f"port {port} ({key}) is in use", exit_code=errors.EXIT_TEMPORARY)
    if error.errno == errno.EACCES:
        message = f"port {port} ({key}) requires a privilege that this process lacks: choose a port above 1023"
        return errors.StartError(message, exit_code=errors.EXIT_CONFIG)
    return errors.StartError(f"can't listen on port {port} ({key}): {error}", exit_code=errors.EXIT_TEMPORARY)
