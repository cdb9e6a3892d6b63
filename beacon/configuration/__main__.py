"""`python -m beacon.configuration`: prints the settings, or the problems with them, for `config_subprocess`."""

import os
import sys

from beacon import codec, errors
from beacon.configuration import config_subprocess, loading, settings


def main() -> None:
    """Print one JSON document to standard output."""
    try:
        loaded = loading.load(os.environ)
        read = config_subprocess.ConfigReport(settings=settings.to_plain(loaded.settings), warnings=loaded.warnings)
    except errors.ConfigError as error:
        read = config_subprocess.ConfigReport(problems=tuple(error.problems))
    sys.stdout.buffer.write(codec.encode(read))


if __name__ == "__main__":
    main()
