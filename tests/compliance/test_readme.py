"""The README names what is there: every setting, and no target, picture or module that is not."""

import ast
import re

import pytest
from django.conf import settings

from messaging.carriers.registry import CARRIERS

ROOT = settings.BASE_DIR
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings_read() -> set[str]:
    """The names that compliance/settings.py asks the environment for: env.str("NAME"), env.bool("NAME") ..."""
    tree = ast.parse((ROOT / "compliance" / "settings.py").read_text(encoding="utf-8"))
    return {
        str(call.args[0].value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "env"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }


def settings_told() -> set[str]:
    """The names in the first column of the README's table of settings."""
    table = README.split("## Every setting", 1)[1].split("\n## ", 1)[0]
    first_cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`([A-Z_]+)`", cell)}


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_the_readme_names_every_setting():
    read = settings_read()
    assert len(read) > 10
    assert read - settings_told() == set()


def test_the_readme_names_no_setting_that_nothing_reads():
    served = (ROOT / "compliance" / "gunicorn.conf.py").read_text(encoding="utf-8")
    for name in settings_told() - settings_read():
        assert f'"{name}"' in served or f"'{name}'" in served


def test_every_make_target_in_the_readme_exists():
    told = set(re.findall(r"(?:^|`|`[A-Z]+=\S+ )make ([a-z]+)(?=`|  )", README, re.MULTILINE))
    assert {"demo", "test", "lint", "serve", "stop"} <= told
    assert told - makefile_targets() == set()


def test_the_two_commands_come_first():
    assert README.index("make demo") < 500
    assert README.index("make test") < 500


@pytest.mark.parametrize("picture", re.findall(r"!\[[^]]+\]\(([^)]+)\)", README))
def test_every_picture_is_there_and_small(picture):
    path = ROOT / picture
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:compliance|messaging|offices|tests)/[\w/.]+)`", README))))
def test_every_file_that_the_readme_names_exists(path):
    assert (ROOT / path).exists()


def test_the_map_of_rooms_names_nothing_that_is_gone():
    rooms = README.split("## The rooms", 1)[1].split("\n## ", 1)[0]
    room = ""
    for line in re.findall(r"^    (\s*\S.*)$", rooms, re.MULTILINE):
        names = re.split(r"\s{2,}", line.strip())[0]
        if not line.startswith(" "):
            room = names if names.endswith("/") and " " not in names else ""
            continue
        for name in names.split(", "):
            place = ROOT / room / name
            assert place.is_dir() if name.endswith("/") else place.with_suffix(".py").exists(), f"{room}{name}"


def carriers_told() -> dict[str, list[str]]:
    """The README's table of carriers: from each one's page, what the columns say."""
    table = README.split("## Carriers", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| \[[^]]+\]\(docs/carriers/(\w+)\.md\) \| (.*) \|$", table, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split(" | ")] for name, cells in rows}


def test_every_carrier_has_a_row_in_the_readme_and_a_page():
    assert set(carriers_told()) == set(CARRIERS) - {"console"}
    assert {path.stem for path in (ROOT / "docs" / "carriers").glob("*.md")} == set(carriers_told())


@pytest.mark.parametrize("carrier", sorted(set(CARRIERS) - {"console"}))
def test_the_readme_says_of_a_carrier_what_its_adapter_does(carrier):
    *_, who_answers, listed = carriers_told()[carrier]

    assert (who_answers != "the portal") == CARRIERS[carrier].ANSWERS_STOP
    assert (listed != "none") == CARRIERS[carrier].HAS_LIST


@pytest.mark.parametrize("carrier", sorted(set(CARRIERS) - {"console"}))
def test_a_carriers_page_names_all_that_is_asked_for_and_how_to_go_about_it(carrier):
    page = " ".join((ROOT / "docs" / "carriers" / f"{carrier}.md").read_text(encoding="utf-8").split())

    assert not [setting.label for setting in CARRIERS[carrier].SETTINGS if setting.label.lower() not in page.lower()]
    for heading in (
        "## What you need", "## Step by step", "## Who answers STOP", "## Changing",
        "## What is checked, and what is not", "## How fast", "## When something is refused",
    ):  # fmt: skip
        assert heading in page
