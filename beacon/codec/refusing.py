"""What is said of a text that can't be read."""


class DecodeError(ValueError):
    """The text is not what it should be; the message says where."""


class EncodeError(TypeError):
    """A value can't be written: it is no plain value, or a number or a text that JSON has no form for."""
