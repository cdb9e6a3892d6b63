"""The configuration file: read, validated, all problems said at once. The store and the command line alone use it.

What the file may hold is declared in `beacon.settings`; `values` reads single values, `tree` builds the validator
(the one door of pydantic), `checks` holds what concerns several values together.
"""

from beacon.configuration.loading import LARGEST_FILE, Loaded, load, parse

__all__ = ["LARGEST_FILE", "Loaded", "load", "parse"]
