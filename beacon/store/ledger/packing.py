"""The short forms of identifiers and values in the ledger, which SQL statements use as functions, too.

A UUID in its canonical form (lower case, with hyphens) is stored as 16 bytes, any other identifier as its text, so that
reading always returns exactly what was written. A digest stands for a set of object states: it is a sum, so that one
state can be added or removed without the others.
"""

import hashlib
from functools import lru_cache

ENDPOINT_BITS = 12  # of an id that combines a sequence or an order key with an endpoint
LAST_ENDPOINT = 2**ENDPOINT_BITS - 1
HIGHEST_SEQUENCE = 2 ** (62 - ENDPOINT_BITS)
# Sequence numbers and delivery ids that may have been used by the original of a copy, or on lost pages. A ledger that
# replaces another one skips them, because a number must not be used twice.
SKIPPED_NUMBERS = 1_000_000
BUCKETS = 64
_MODULUS = 2**128
_DIGEST_BYTES = 16
_LONGEST_VALUE_BYTES = 4096
_UUID_LENGTH = 36
_UUID_BYTES = 16
_REMEMBERED = 2048  # results: the same identifiers come several times for each event
_HEXADECIMAL = frozenset("0123456789abcdef")

Packed = bytes | str


@lru_cache(maxsize=_REMEMBERED)
def packed(text: str) -> Packed:
    """Return the 16 bytes of a canonical UUID, else the text."""
    if len(text) != _UUID_LENGTH:
        return text
    try:
        data = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return text
    return data if unpacked(data) == text else text


def unpacked(value: Packed) -> str:
    """Return the text that was packed."""
    if isinstance(value, str):
        return value
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def packed_range(prefix: str) -> tuple[bytes, bytes] | None:
    """Return the lowest and the highest of the packed UUIDs that begin with a text; None if no UUID does."""
    digits = prefix.replace("-", "")
    ends = []
    for filler in "0f":
        filled = digits + filler * (2 * _UUID_BYTES - len(digits))
        if len(filled) > 2 * _UUID_BYTES or not _HEXADECIMAL.issuperset(filled):
            return None
        ends.append(bytes.fromhex(filled))
    return (ends[0], ends[1]) if unpacked(ends[0]).startswith(prefix) else None


def combined(number: int, endpoint: int) -> int:
    """Return the id of a delivery (of a sequence) or of a view (of an order key) for one endpoint."""
    return number << ENDPOINT_BITS | endpoint


def bucket_of(group: str, kind: str, namespace: str, name: str) -> int:
    """Return the bucket of an object, which is the same in every ledger."""
    return hashlib.sha256(f"{group}/{kind}/{namespace}/{name}".encode()).digest()[0] % BUCKETS


def as_sent(value: str) -> str:
    """Return an annotation value as events contain it: truncated at 4 KiB."""
    if len(value) * 4 <= _LONGEST_VALUE_BYTES:
        return value
    data = value.encode()
    return data[:_LONGEST_VALUE_BYTES].decode(errors="ignore") if len(data) > _LONGEST_VALUE_BYTES else value


@lru_cache(maxsize=_REMEMBERED)
def digest_of(uid: Packed | None, value: str | None) -> int:
    """Return the summand of one object in its bucket's digest, 0 if the object is absent."""
    if uid is None:
        return 0
    return int.from_bytes(hashlib.sha256(f"{unpacked(uid)}\0{value or ''}".encode()).digest()[:16], "big")


class Digests:
    """The digests of the buckets of one endpoint."""

    def __init__(self, stored: bytes | None = None) -> None:
        """Start from the stored form; without one the buckets are empty."""
        self._stored = bytearray(stored or bytes(_DIGEST_BYTES * BUCKETS))

    def add(self, bucket: int, digest: int) -> None:
        """Add to the digest of a bucket."""
        start = bucket * _DIGEST_BYTES
        end = start + _DIGEST_BYTES
        total = (int.from_bytes(self._stored[start:end], "big") + digest) % _MODULUS
        self._stored[start:end] = total.to_bytes(_DIGEST_BYTES, "big")

    def stored(self) -> bytes:
        """Return the stored form."""
        return bytes(self._stored)


class DigestSum:
    """The aggregate `digest_of(bucket, uid, value)`: the buckets of all rows, in their stored form."""

    def __init__(self) -> None:
        """Start without rows."""
        self._digests = Digests()

    def step(self, *args: object) -> None:
        """Add one row."""
        bucket, uid, value = args
        digest = digest_of(uid if isinstance(uid, bytes | str) else None, value if isinstance(value, str) else None)
        self._digests.add(bucket if isinstance(bucket, int) else 0, digest)

    def final(self) -> bytes:
        """Return the buckets of all rows."""
        return self._digests.stored()
