"""What the API server sends, parsed straight into what Beacon needs of it.

managedFields and everything else that no rule asks for is skipped by the parser instead of becoming Python objects:
measured on a pod's line of 2 kB that is 4 us instead of 19, and an unannotated object leaves no garbage behind.
"""

from collections.abc import Sequence

import msgspec

from beacon.cluster import failures


class Item(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The metadata of one object."""

    uid: str = ""
    namespace: str = ""
    name: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    @property
    def version(self) -> int:
        """Give the resourceVersion as the number that it is.

        Raises:
            failures.Malformed: it isn't.
        """
        return number(self.resource_version)


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK, or ERROR."""

    type: str
    item: Item


class Page(msgspec.Struct, frozen=True, gc=False):
    """One page of a list; `version` is the resourceVersion of the whole list, `rest` the token of the next page."""

    version: int
    items: Sequence[Item]
    rest: str


def line(data: bytes) -> Line:
    """Parse a line of a watch.

    Raises:
        failures.Garbled: it is not JSON.
        failures.Malformed: it has no identity or no position.
        failures.Refused: it is an ERROR line: the Status in it.
    """
    try:
        parsed = _LINE.decode(data)
    except msgspec.ValidationError as error:
        raise failures.Malformed(f"the API server sent a line that is not of a watch: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise failures.Garbled(f"the API server sent a line that is not JSON: {error}") from error
    if parsed.type == "ERROR":
        raise _error(data)
    item = parsed.object.metadata
    if parsed.type not in _TYPES:
        raise failures.Malformed(f"the API server sent a line of the unknown type {parsed.type[:40]!r}")
    if not item.resource_version or (not item.uid and parsed.type != "BOOKMARK"):
        raise failures.Malformed(f"the API server sent {parsed.type} without UID or resourceVersion")
    return Line(type=parsed.type, item=item)


def page(data: bytes) -> Page:
    """Parse one page of a list.

    Raises:
        failures.Malformed: it is not a list, or an object of it has no identity.
        failures.Unsuitable: its resourceVersion is not a decimal number.
    """
    try:
        parsed = _PAGE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise failures.Malformed(f"the API server sent something that is not a list: {error}") from error
    listed = [entry.metadata for entry in parsed.items or ()]
    if not all(item.uid and item.resource_version for item in listed):
        raise failures.Malformed("the API server listed an object without UID or resourceVersion")
    return Page(version=_list_version(parsed.metadata.resource_version), items=listed, rest=parsed.metadata.rest or "")


def object_uid(data: bytes) -> str:
    """Parse one object for its UID.

    Raises:
        failures.Malformed: it is not an object.
    """
    try:
        return _ONE.decode(data).metadata.uid
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise failures.Malformed(f"the API server sent something that is not an object: {error}") from error


def refusal(status: int, body: bytes, retry_after: str | None = None) -> failures.Refused:
    """Make an error of an answer that is not 200; the body may be a Status or anything else."""
    try:
        said = _STATUS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = " ".join(body[:200].decode(errors="replace").split())
        said = _Status(message=text or f"status {status}")
    return _refused(status, said, retry_after)


def number(text: str) -> int:
    """Read a resourceVersion.

    Raises:
        failures.Malformed: it is not a decimal number.
    """
    if not (text.isascii() and text.isdigit()):
        raise failures.Malformed(f"the API server sent the resourceVersion {text[:40]!r}, which is not a number")
    return int(text)


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Details(msgspec.Struct, frozen=True, rename="camel"):
    retry_after_seconds: int = 0
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct, frozen=True):
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


class _Object(msgspec.Struct, frozen=True, gc=False):
    metadata: Item = Item()


class _RawLine(msgspec.Struct, frozen=True, gc=False):
    type: str
    object: _Object = _Object()


class _ErrorLine(msgspec.Struct, frozen=True):
    object: _Status = _Status()


class _ListMetadata(msgspec.Struct, frozen=True, gc=False):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    rest: str | None = msgspec.field(default=None, name="continue")


class _RawPage(msgspec.Struct, frozen=True, gc=False):
    metadata: _ListMetadata
    items: list[_Object] | None = None


_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
_LINE = msgspec.json.Decoder(_RawLine)
_ERROR = msgspec.json.Decoder(_ErrorLine)
_PAGE = msgspec.json.Decoder(_RawPage)
_ONE = msgspec.json.Decoder(_Object)
_STATUS = msgspec.json.Decoder(_Status)


def _error(data: bytes) -> failures.Refused | failures.Malformed:
    try:
        said = _ERROR.decode(data).object
    except msgspec.DecodeError as error:
        return failures.Malformed(f"the API server sent an ERROR line without a Status: {error}")
    return _refused(said.code or 500, said, None)


def _refused(status: int, said: _Status, retry_after: str | None) -> failures.Refused:
    details = said.details or _Details()
    delay_s = float(details.retry_after_seconds) or None
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        delay_s = float(retry_after)
    causes = details.causes or ()
    future = any(cause.reason == "ResourceVersionTooLarge" for cause in causes)
    return failures.Refused(
        said.message or said.reason or f"status {status}",
        status=status,
        reason=said.reason,
        delay_s=delay_s,
        future=status == 504 and (future or "Too large resource version" in said.message),
    )


def _list_version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise failures.Unsuitable(
            f"the API server numbers the versions of this kind with {text[:40]!r} instead of decimal numbers, so"
            " Beacon could not tell which of two is newer"
        )
    return int(text)
