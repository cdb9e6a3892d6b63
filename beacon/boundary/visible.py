"""Escapes characters that would control a terminal, or be invisible. Standard library only.

A response of an endpoint, an annotation or a name may contain escape sequences that move the cursor, characters that
reverse the reading direction (U+202E), or invisible ones. Every module that prints such text for an operator escapes
control characters (C0, DEL, C1), format characters, line and paragraph separators, and lone surrogates.
"""

import re

# The categories Cc, Cf, Zl, Zp and Cs of Unicode.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def is_safe(text: str) -> bool:
    """Return True if the text contains no character to be escaped except line feeds and tabs."""
    return all(found in "\n\t" for found in _UNSAFE.findall(text))


def escaped(text: str) -> str:
    """Return the text as one line, with unsafe characters escaped as in Python."""
    return _UNSAFE.sub(_escape, text)


def escaped_json(document: str) -> str:
    r"""Return an equal JSON document in which unsafe characters of strings are escaped as `\uXXXX`.

    Line feeds and blanks between the values stay; a JSON string holds no raw control character below U+0020.
    """
    return _UNSAFE.sub(_escape_json, document)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if code < 0x100:
        return _SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_json(found: re.Match[str]) -> str:
    character = found[0]
    if character in "\n\t\r":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
