"""What a test endpoint is started with: where it listens, how it logs, and the plan it begins with.

The same names stand in a YAML file, in keyword arguments and, with dashes, in flags. Pure but for reading the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from beacon import codec, errors
from beacon.codec import documents
from beacon.dev.endpoint import modes, report, values


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All settings of a test endpoint."""

    host: str = "127.0.0.1"
    port: int = 0  # 0 takes a free one
    tls: bool = False  # with an authority made on the spot
    mutual: bool = False  # `tls`, and clients must show a certificate of that authority
    cert: str = ""  # or with these files
    key: str = ""
    client_ca: str = ""
    keep: int = 20_000  # accepted events, and requests, that are kept whole
    log: report.Format = report.Format.NONE
    seed: int | None = None  # of what is random
    plan: modes.SinkPlan = field(default_factory=modes.SinkPlan)


READERS: dict[str, values.Reader] = {
    "host": values.text,
    "port": values.integer(0, 65535),
    "tls": values.flag,
    "mutual": values.flag,
    "cert": values.text,
    "key": values.text,
    "client_ca": values.text,
    "keep": values.integer(0, 10_000_000),
    "log": values.choice(report.Format),
    "seed": values.optional(values.integer(0, 2**63)),
}


def parse(given: Mapping[str, object]) -> Options:
    """Read options and the plan out of one flat mapping.

    Raises:
        ConfigError: with one line for every unknown key and unusable value.
    """
    found = values.read(given, {**READERS, **modes.READERS})
    if bool(found.get("cert")) != bool(found.get("key")):
        raise errors.ConfigError(["cert and key: one is of no use without the other"])
    if found.get("client_ca") and not found.get("cert"):
        raise errors.ConfigError(["client_ca: needs cert and key"])
    fixed = {key: found.pop(key) for key in list(found) if key in READERS}
    return Options(**fixed, plan=modes.SinkPlan().changed({key: given[key] for key in found}))


def load(path: Path) -> dict[str, object]:
    """Read the settings in a YAML file.

    Raises:
        ConfigError: it can't be read, or isn't a mapping.
    """
    try:
        document = documents.load(path.read_text())
    except OSError as error:
        raise errors.ConfigError([f"{path}: {error.strerror}"]) from error
    except (codec.DecodeError, UnicodeDecodeError) as error:
        raise errors.ConfigError([f"{path}: {error}"]) from error
    if document is not None and not isinstance(document, dict):
        raise errors.ConfigError([f"{path}: must be a mapping of settings"])
    return document or {}
