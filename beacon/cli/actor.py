"""The user, the host and the terminal of a command, as far as the system knows them: for the record of actions.

This is no proof of identity: inside a pod every `kubectl exec` runs as the container's user. The audit log of the API
server names the user of `kubectl exec`; the instant of the action identifies the entry.
"""

import os
import pwd
import socket
import sys


def describe() -> str:
    """Return the user, the host and the terminal: `alice (uid 1000, sudo by bob) on node7, /dev/pts/3`."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = "unknown user"  # containers run as any UID
    sudo = os.environ.get("SUDO_USER", "")
    user = f"{name} (uid {uid}{f', sudo by {sudo}' if sudo else ''})"
    return ", ".join(part for part in (f"{user} on {socket.gethostname()}", _terminal()) if part)


def _terminal() -> str:
    try:
        return os.ttyname(sys.stdin.fileno())
    except (OSError, ValueError):
        return ""
