"""A secret in a file that is read again when it changes.

A file that is missing or invalid for a moment, as while a mounted secret is replaced, leaves the previous secret in
use. The file may be a symbolic link that is replaced, as in a mount of Kubernetes.
"""

from collections.abc import Callable

from beacon import errors
from beacon.notifier.transport import tls_context

Read = Callable[[str, str], str]


class SecretFile:
    """The current secret of a file: `value`, "" until it could be read. For one thread.

    `problem` is the reason why the file can't be used now, "" if it can.
    """

    __slots__ = ("_path", "_place", "_read", "_signature", "problem", "value")

    def __init__(self, path: str, place: str, read: Read) -> None:
        """Watch a file; `read` returns its secret, given the path and the key of the configuration that names it."""
        self._path = path
        self._place = place
        self._read = read
        self._signature: object = None
        self.value = ""
        self.problem = ""

    def refresh(self) -> bool:
        """Read the file if it has changed. Return True if it contains another secret than before."""
        signature = tls_context.signature(self._path)
        if self.value and signature in (None, self._signature):
            return False
        try:
            value = self._read(self._path, self._place)
        except errors.TransientError as error:
            self.problem = str(error)
            return False
        self._signature, self.problem = signature, ""
        is_new, self.value = value != self.value, value
        return is_new
