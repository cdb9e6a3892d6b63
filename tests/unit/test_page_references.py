"""The pages for maintainers name files and functions that exist."""

import ast
import re
from pathlib import Path

import pytest

from beacon import wire
from beacon.cli import __main__ as cli
from beacon.runtime import metrics
from beacon.wire import envelope
from tests.system import documents
from tests.unit import endpoint_events

ROOT = documents.ROOT
MAINTAINERS = ("architecture", "contributing", "damage", "disk-space", "performance", "security")
PAGES = (
    "README.md",
    *(f"docs/{name}.md" for name in MAINTAINERS),
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs/decisions").glob("*.md"))),
)
PACKAGES = [path.parent for path in sorted((ROOT / "beacon").rglob("*/__init__.py"))]
_CODE = re.compile(r"`([^`\s]+)`")
_FILE = re.compile(r"(?:beacon|docs|grafana|k8s|tests)/[\w./-]*")
_MODULE = re.compile(r"(?!beacon/|tests/|docs/|grafana/|k8s/)\w+/[\w/]+\.py")  # within beacon/
_SYMBOL = re.compile(r"((?:beacon|tests)/[\w/]+\.py):([\w.]+)")


def quoted(page: str) -> list[str]:
    return _CODE.findall((ROOT / page).read_text(encoding="utf-8"))


def files(page: str) -> set[str]:
    names = {text.partition(":")[0] for text in quoted(page)}
    return {name for name in names if _FILE.fullmatch(name)} | {f"beacon/{n}" for n in names if _MODULE.fullmatch(n)}


def symbols(path: Path) -> set[str]:
    """Return the functions and classes of a module, and `Class.method`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
    return found


def is_defined(package: Path, name: str) -> bool:
    """Return True if a package has this module or package, with the class, function or method after it."""
    first, _, rest = name.partition(".")
    if (package / first).is_dir():
        return not rest or is_defined(package / first, rest)
    module = package / f"{first}.py"
    if module.exists():
        return not rest or rest in symbols(module)
    return name in symbols(package / "__init__.py")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    missing = sorted(name for name in files(page) if not (ROOT / name).exists())

    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_function_that_a_page_names_exists(page: str) -> None:
    named = [match.groups() for text in quoted(page) if (match := _SYMBOL.fullmatch(text))]

    missing = [f"{file}:{name}" for file, name in named if name not in symbols(ROOT / file)]

    assert missing == []


def test_the_guided_tour_has_about_ten_stops_and_each_names_a_function() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    tour = text.partition("## A guided tour")[2].partition("\n## ")[0]

    stops = re.split(r"^\d+\. ", tour, flags=re.MULTILINE)[1:]

    assert 8 <= len(stops) <= 12
    assert all(any(_SYMBOL.fullmatch(code) for code in _CODE.findall(stop)) for stop in stops)


def test_the_architecture_lists_every_package_and_every_verb() -> None:
    named = set(quoted("docs/architecture.md"))
    packages = {f"{path.parent.name}/" for path in (ROOT / "beacon").glob("*/__init__.py")}

    assert packages - named == set()
    assert set(wire.VERBS) - named == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_states_where_to_start_reading(package: Path) -> None:
    module = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    paragraphs = (" ".join(text.split()) for text in (ast.get_docstring(module) or "").split("\n\n"))
    named = [name for text in paragraphs for name in _CODE.findall(text.partition("Start reading at ")[2])]

    assert named
    assert [name for name in named if not is_defined(package, name)] == []


def test_a_missing_function_would_be_found() -> None:
    assert "StoreService.process" in symbols(ROOT / "beacon/store/server/service.py")
    assert "StoreService.no_such" not in symbols(ROOT / "beacon/store/server/service.py")


def test_the_recipe_of_a_verb_names_all_its_places() -> None:
    modules = {type_.__module__ for verb in wire.VERBS.values() for type_ in (verb.request, verb.reply)}
    store = (ROOT / "beacon/store/server/service.py").read_text(encoding="utf-8")

    assert {name.rpartition(".")[0] for name in modules} == {"beacon.wire"}
    assert all(verb.request.__name__ in wire.__all__ for verb in wire.VERBS.values())
    assert all(f"wire.{verb.request.__name__}:" in store for verb in wire.VERBS.values())
    assert envelope.VERBS is wire.VERBS


def test_the_recipe_of_a_command_names_all_its_places() -> None:
    modules = {path.stem for path in (ROOT / "beacon/cli/commands").iterdir()} - {"__init__", "__pycache__"}
    listed = re.findall(r"^\| \[?`([a-z-]+)", (ROOT / "docs/cli.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert modules == {module.partition(".")[0] for module, _ in cli._COMMANDS.values()}
    assert set(cli.NAMES) <= set(listed)


def test_the_recipe_of_a_metric_names_all_its_places() -> None:
    panels = (ROOT / "grafana/dashboard.yaml").read_text(encoding="utf-8")

    missing = {family.name for family in metrics.REGISTRY.collect() if family.name not in panels}

    assert missing == set()


def test_the_recipe_of_an_attribute_names_all_its_places() -> None:
    code = (ROOT / "beacon/notifier/delivery/render.py").read_text(encoding="utf-8").partition("def envelope")[2]
    rendered = set(re.findall(r'^        "(\w+)": ', code.partition("\n    }\n")[0], re.MULTILINE))
    receivers = (ROOT / "docs/receivers.md").read_text(encoding="utf-8")

    assert {"id", "partitionkey", "ledgerid"} <= rendered
    assert [name for name in rendered if f'"{name}"' not in receivers] == []
    assert rendered <= set(endpoint_events.document("web", 1))
