"""What is said of a text that can't be read."""


class DecodeError(ValueError):
    """The text is not what it should be; the message says where."""
