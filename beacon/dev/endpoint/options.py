"""Options of a test endpoint: address, TLS, log format, and the initial plan.

A YAML file, keyword arguments and, with dashes, flags use the same names. Pure except for reading the file.
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
    port: int = 0  # 0 chooses a free port
    tls: bool = False  # with a generated certificate authority
    mutual: bool = False  # like `tls`, and clients must present a certificate of that authority
    cert: str = ""  # TLS with these files
    key: str = ""
    client_ca: str = ""
    keep: int = 20_000  # accepted events, and requests, that are kept completely
    log: report.Format = report.Format.NONE
    seed: int | None = None  # of the random numbers
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


def parse(plain: Mapping[str, object]) -> Options:
    """Return the options and the plan from one flat mapping.

    Raises:
        ConfigError: with one line for every unknown key and unusable value.
    """
    found = values.read(plain, {**READERS, **modes.READERS})
    if bool(found.get("cert")) != bool(found.get("key")):
        raise errors.ConfigError(["cert and key: set both or neither"])
    if found.get("client_ca") and not found.get("cert"):
        raise errors.ConfigError(["client_ca: needs cert and key"])
    fixed = {key: found.pop(key) for key in list(found) if key in READERS}
    return Options(**fixed, plan=modes.SinkPlan().changed({key: plain[key] for key in found}))


def load(path: Path) -> dict[str, object]:
    """Return the settings in a YAML file.

    Raises:
        ConfigError: the file can't be read, or is not a mapping.
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
