"""The house keeps its shape: what style.md and design.md say about rooms, names, settings and made-up numbers."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["compliance", "messaging", "offices"]
# From the roof to the ground: what each may import.
MAY_IMPORT = {
    "compliance": {"compliance", "messaging", "offices"},
    "messaging": {"messaging", "offices"},
    "offices": {"offices"},
}
PURE = ["offices/e164.py", "offices/help_message.py", "messaging/keywords.py", "messaging/segments.py"]
MOST_LINES = 400
WRITTEN = {".py", ".html", ".js", ".css", ".md", ".toml"}
NOT_NAMES = {"utils", "util", "helpers", "helper", "common", "services", "service", "misc", "tools", "lib", "core"}
# Who starts the portal or its database reads or sets the environment before the settings are there.
MAY_READ_ENVIRONMENT = {
    "compliance/settings.py", "compliance/database.py", "compliance/wsgi.py", "compliance/asgi.py",
    "compliance/gunicorn.conf.py", "manage.py",
}  # fmt: skip


def written_by_us() -> list[Path]:
    """Every file of the repository, whether committed yet or not, without what is ignored."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0 and listed.stdout:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:  # an archive without its history
        found = [
            path
            for path in ROOT.rglob("*")
            if not {".venv", "var", "__pycache__", ".git", ".hypothesis"} & set(path.relative_to(ROOT).parts)
        ]
    return sorted(path for path in found if path.is_file())


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


FILES = written_by_us()
PYTHON = [path for path in FILES if path.suffix == ".py"]
PRODUCT = [path for path in PYTHON if path.relative_to(ROOT).parts[0] in ROOMS or relative(path) == "manage.py"]
MODULES = [path for path in PRODUCT if "migrations" not in path.parts and path.stat().st_size]
TREES = {path: ast.parse(path.read_text()) for path in PYTHON}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path): path for path in PRODUCT}


def imported(path: Path, *, within: ast.AST | None = None) -> set[str]:
    """The modules of ours that a file imports, wherever in it; `from offices import access` names offices.access."""
    found = set()
    for node in ast.walk(within or TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module_name(path).split(".")
                package = package if path.name == "__init__.py" else package[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *filter(None, [base])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in NAMES else base)
        elif (
            isinstance(node, ast.Call)
            and node.args
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__")
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value))
    return {name for name in found if name.split(".")[0] in (*ROOMS, "tests")}


def test_the_walk_finds_the_house():
    assert {"offices.access", "messaging.gate", "compliance.settings", "manage"} <= set(NAMES)
    assert imported(NAMES["messaging.gate"]) >= {"messaging.models", "offices.e164", "offices.models"}
    assert len(MODULES) > 40


# Imports


def test_imports_point_down_only():
    upwards = [
        f"{relative(path)} imports {name}"
        for path in PRODUCT
        for name in imported(path)
        if name.split(".")[0] not in MAY_IMPORT.get(path.relative_to(ROOT).parts[0], set(ROOMS))
    ]

    assert not upwards


def test_no_two_modules_import_each_other_by_whatever_way_round():
    arrows = defaultdict(set)
    for name, path in NAMES.items():
        for other in imported(path):
            # A package's own face imports its parts, and a part that imports the face again is a circle.
            if other in NAMES and other != name:
                arrows[name].add(other)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "a circle: " + " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for other in sorted(arrows[name]):
            visit(other, (*trail, name))
        done.add(name)

    for name in sorted(NAMES):
        visit(name, ())


def test_no_code_of_ours_is_imported_inside_a_function():
    inside = [
        f"{relative(path)}:{node.lineno} imports {name}"
        for path in PRODUCT
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for name in imported(path, within=node)
    ]

    assert not inside


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_know_no_django_and_no_row(name):
    tree = TREES[ROOT / name]
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").split(".")[0])
            assert not (node.module or "").endswith("models")

    assert not roots & {"django", "rest_framework", "psycopg", "unfold", "compliance"}


def test_pure_modules_import_without_django_being_there():
    code = "import sys; sys.modules['django'] = None\n" + "\n".join(
        f"import {name.removesuffix('.py').replace('/', '.')}" for name in PURE
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr


# Modules


def test_every_module_is_named_after_its_subject():
    assert not [relative(path) for path in PYTHON if NOT_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)]


def test_every_modules_first_line_says_what_it_is_for():
    silent = []
    for path in MODULES:
        first = (ast.get_docstring(TREES[path]) or "").partition("\n")[0].rstrip()
        if not isinstance(TREES[path].body[0], ast.Expr) or not first.endswith((".", "?", "!")):
            silent.append(f"{relative(path)}: {first!r}")

    assert not silent


def test_no_file_is_too_long_to_be_read():
    lengths = {relative(path): len(path.read_text().splitlines()) for path in MODULES}

    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_nothing_is_left_for_later():
    marks = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK:"]) + ")")

    assert not [relative(path) for path in FILES if path.suffix in WRITTEN and marks.search(path.read_text())]


# Settings


def reads_environment(path: Path) -> list[int]:
    found = []
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"):
            if isinstance(node.value, ast.Name) and node.value.id == "os":
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "environ"):
            found += [node.lineno for alias in node.names if alias.name in ("environ", "getenv", "Env")]
        elif isinstance(node, ast.Import) and any(alias.name in ("environ", "decouple") for alias in node.names):
            found.append(node.lineno)
    return found


def test_settings_are_read_in_one_place():
    elsewhere = [
        f"{relative(path)}:{line}"
        for path in PRODUCT
        for line in reads_environment(path)
        if relative(path) not in MAY_READ_ENVIRONMENT and "demo" not in path.parts and path.stem != "demo"
    ]

    assert not elsewhere
    assert reads_environment(ROOT / "compliance/settings.py")


def names_of_settings() -> set[str]:
    found = set()
    for node in ast.walk(TREES[ROOT / "compliance/settings.py"]):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "env"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value))
    return found


def test_the_readme_names_every_setting():
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README.md yet")
    names = names_of_settings()

    assert len(names) > 10
    assert not [name for name in sorted(names) if not re.search(rf"\b{name}\b", readme.read_text())]


# Pages


class Loaded(HTMLParser):
    """What a page loads by itself: not where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        loading = ["src", "srcset", "poster", "data", "action", "formaction", "xlink:href"]
        loading += ["href"] if tag in ("link", "base", "use", "image") else []
        self.addresses += [given[name] for name in loading if name in given]
        self.addresses += re.findall(r"url\(\s*['\"]?([^'\")]+)", given.get("style", ""))


def is_elsewhere(address: str) -> bool:
    return bool(re.match(r"\s*(?:[a-z]+:)?//", address, re.IGNORECASE))


# As in @import "https://…", url(//…), fetch("https://…") and import("https://…").
CODE_LOADS = re.compile(r"(?:@import|\burl|\bfetch|\bimport|\bsrc\s*=)\s*\(?\s*['\"]?(?:https?:)?//")


def test_templates_load_nothing_from_elsewhere():
    found = []
    for path in FILES:
        if path.suffix in (".html", ".svg"):
            text = path.read_text()
            found += [f"{relative(path)}: {address}" for address in Loaded(text).addresses if is_elsewhere(address)]
            inline = " ".join(code for _, code in re.findall(r"<(script|style)\b[^>]*>(.*?)</\1>", text, re.DOTALL))
            found += [f"{relative(path)}: {code}" for code in CODE_LOADS.findall(inline)]

    assert not found


def test_styles_and_scripts_load_nothing_from_elsewhere():
    found = [
        f"{relative(path)}: {code}"
        for path in FILES
        if path.suffix in (".css", ".js")
        for code in CODE_LOADS.findall(path.read_text())
    ]

    assert not found


def test_the_search_for_what_is_loaded_finds_it():
    page = (
        '<link href="https://x.example/a.css"><script src="//x.example/a.js"></script><a href="https://x.example">x</a>'
    )

    assert [address for address in Loaded(page).addresses if is_elsewhere(address)] == [
        "https://x.example/a.css",
        "//x.example/a.js",
    ]
    assert CODE_LOADS.search('@import "https://x.example/a.css"')
    assert CODE_LOADS.search("background: url(//x.example/a.png)")
    assert CODE_LOADS.search("await fetch('https://x.example')")
    assert not CODE_LOADS.search("url(/static/a.png) // a comment")


# Numbers

# Ten digits by the numbering plan (area code and exchange begin with 2 to 9), with or without a plus and marks, that
# stand alone: not part of a longer number, an id or an address.
FULL_NUMBER = re.compile(
    r"(?<![\w.+#/-])(?:\+?1[ .-]?)?(?:\(([2-9]\d{2})\) ?|([2-9]\d{2})[ .-]?)([2-9]\d{2})[ .-]?(\d{4})(?![\w-]|\.\d)"
)
TEXT = {".py", ".md", ".html", ".js", ".toml", ".form", ".json", ".txt", ".yml", ".yaml", ""}


def numbers_in(text: str) -> list[str]:
    return [
        found.group(0)
        for found in FULL_NUMBER.finditer(text)
        if not (found.group(3) == "555" and found.group(4).startswith("01"))
    ]


def test_the_search_for_numbers_tells_made_up_ones_from_others():
    area = "212"
    for others in (f"+1{area}7365000", f"({area}) 736-5000", f"1-{area}-736-5000", f"{area}.736.5000"):
        assert numbers_in(f"Call {others}!") == [others]
    for fine in ("+12125550143", "(212) 555-0143", "1-212-555-0143", "id 12345678901234", "4 294 967 295"):
        assert numbers_in(fine) == []


def test_every_phone_number_is_from_the_fictional_range():
    found = {
        relative(path): numbers
        for path in FILES
        if path.suffix in TEXT and "requirements" not in path.parts and path != Path(__file__)
        if (numbers := numbers_in(path.read_text(errors="replace").replace("%2B", "+")))
    }

    assert not found
