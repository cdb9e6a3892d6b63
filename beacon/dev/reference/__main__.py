"""Writes docs/configuration.schema.json and the tables in docs/configuration.md: `make schema`."""

from beacon import codec
from beacon.dev.reference import page, schema


def main() -> None:
    """Write both files."""
    schema.PATH.write_bytes(codec.encode_pretty(schema.document()))
    page.PATH.write_text(page.renewed(page.PATH.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
