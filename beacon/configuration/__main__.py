"""`python -m beacon.configuration`: prints the settings, or what is wrong with them, for `beacon.reading`."""

import os
import sys

from beacon import codec, errors, reading, settings
from beacon.configuration import loading


def main() -> None:
    """Answer with one document on standard output."""
    try:
        loaded = loading.load(os.environ)
        read = reading.Read(settings=settings.to_plain(loaded.settings), warnings=loaded.warnings)
    except errors.ConfigError as error:
        read = reading.Read(problems=tuple(error.problems))
    sys.stdout.buffer.write(codec.encode(read))


if __name__ == "__main__":
    main()
