"""The language of code, tests and pages: docstrings are imperatives, actors have names, class names are unique."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEACON = ROOT / "beacon"
PROCESSES = [path for path in sorted(BEACON.rglob("*.py")) if BEACON / "dev" not in path.parents]
TEXTS = (".css", ".html", ".json", ".md", ".py", ".sh", ".sql", ".toml", ".txt", ".yaml", ".yml")
PAGES = [
    ROOT / "README.md",
    *(path for name in ("beacon", "docs", "k8s", "grafana") for path in sorted((ROOT / name).rglob("*"))),
]
TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
FILES = [*(path for path in PAGES if path.suffix in TEXTS), *TESTS]

REFUSED = re.compile(r"(?<![a-z])(?:tell|tells|told|whoever|nobody|somebody)(?![a-z])", re.IGNORECASE)
RELEASED = re.compile(r"^## \[?v?\d", re.MULTILINE)
SPOKEN = {"Give", "Have", "Let", "Name", "Say", "Tell"}
# With these a sentence begins that is not an imperative.
NO_VERBS = {
    "A", "All", "An", "Any", "As", "At", "Both", "By", "Each", "Every", "False", "For", "From", "How", "If", "In", "It",
    "Neither", "No", "None", "Not", "Nothing", "Of", "On", "One", "Only", "So", "Some", "That", "The", "Their", "There",
    "These", "They", "This", "Those", "To", "True", "What", "When", "Where", "Whether", "Which", "Who", "Whose", "Why",
    "With", "Without",
}  # fmt: skip
ENDINGS = re.compile(r".{3,}ed|.{2,}[^s]s|[A-Z][a-z]{2,}ing")
MOST_ANY = 6  # for each thousand lines


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the docstring of every function in a file, except tests: theirs explain a claim."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_test = path in TESTS and node.name.startswith("test_")
        if not is_test and (text := ast.get_docstring(node)):
            yield node.lineno, text


def is_imperative(text: str) -> bool:
    first = re.split(r"[^A-Za-z]", text, maxsplit=1)[0]
    return first.istitle() and first not in SPOKEN | NO_VERBS and not ENDINGS.fullmatch(first)


def unreleased(path: Path) -> str:
    """Return a file's text; of the changelog only the section of the next release."""
    text = path.read_text(encoding="utf-8")
    return RELEASED.split(text, maxsplit=1)[0] if path.name == "changelog.md" else text


def public_classes(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}


def count_any(path: Path) -> int:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)


@pytest.mark.parametrize("path", [*sorted(BEACON.rglob("*.py")), *TESTS], ids=name_of)
def test_every_docstring_of_a_function_begins_with_an_imperative(path: Path) -> None:
    wrong = [f"{line}: {text.splitlines()[0]}" for line, text in docstrings(path) if not is_imperative(text)]

    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_actors_have_names_and_software_does_not_speak(path: Path) -> None:
    lines = unreleased(path).splitlines()

    assert [f"{number}: {line}" for number, line in enumerate(lines, start=1) if REFUSED.search(line)] == []


@pytest.mark.parametrize(
    ("text", "imperative"),
    [
        ("Return the rows.", True),
        ("Pass it on.", True),
        ("Send it.", True),
        ("Feed bytes.", True),
        ("Ping the store.", True),
        ("Say it.", False),
        ("Returns the rows.", False),
        ("The rows.", False),
        ("Whether it is open.", False),
        ("Returned rows.", False),
        ("Making rows.", False),
        ("rows", False),
    ],
)
def test_an_imperative_is_known_by_its_first_word(text: str, imperative: bool) -> None:
    assert is_imperative(text) is imperative


def test_no_two_public_classes_have_the_same_name() -> None:
    places = defaultdict(list)
    for path in sorted(BEACON.rglob("*.py")):
        for name in public_classes(path):
            places[name].append(name_of(path))

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_types_are_known_but_for_a_few() -> None:
    found = Counter({name_of(path): count_any(path) for path in PROCESSES})
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in PROCESSES)

    per_thousand = sum(found.values()) * 1000 / lines
    assert per_thousand <= MOST_ANY, f"{per_thousand:.1f}, most of them in {found.most_common(10)}"
