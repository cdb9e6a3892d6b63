"""Writes docs/configuration.schema.json, the tables in docs/configuration.md and the chart's files: `make schema`."""

from beacon import codec
from beacon.dev.reference import chart, page, schema


def main() -> None:
    """Write all generated files."""
    schema.PATH.write_bytes(codec.encode_pretty(schema.document()))
    page.PATH.write_text(page.renewed(page.PATH.read_text(encoding="utf-8")), encoding="utf-8")
    for name, content in chart.files().items():
        (chart.PATH / name).parent.mkdir(exist_ok=True)
        (chart.PATH / name).write_bytes(content)


if __name__ == "__main__":
    main()
