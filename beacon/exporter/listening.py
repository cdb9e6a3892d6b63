"""The listening socket: every address of both families, or the reason why the port can't be had."""

import errno
import socket

from beacon import errors

_BACKLOG = 1024  # what does not fit is tried again by its client a second later


def listen(host: str, port: int, key: str) -> socket.socket:
    """Listen on `host`, or on every address where it is empty; `key` names the port in errors.

    Raises:
        errors.StartError: the port can't be had.
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
    """Return the reason in one sentence, with the exit code that goes with it."""
    if error.errno == errno.EADDRINUSE:
        return errors.StartError(f"port {port} ({key}) is in use", exit_code=errors.EXIT_TEMPORARY)
    if error.errno == errno.EACCES:
        message = f"port {port} ({key}) needs a privilege that this process doesn't have: choose one above 1023"
        return errors.StartError(message, exit_code=errors.EXIT_CONFIG)
    return errors.StartError(f"can't listen on port {port} ({key}): {error}", exit_code=errors.EXIT_TEMPORARY)
