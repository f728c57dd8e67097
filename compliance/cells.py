"""Cells of spreadsheets: what a program would run as a formula is made words again. Pure.

Source: OWASP, "CSV Injection": a cell is run when it begins with =, +, -, @, a tab or a line's end, also in full width.
"""

import re

RUNS = re.compile(r"\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r\n]")
# What begins with a sign and is none the less a figure: E.164, and plain numbers.
FIGURE = re.compile(r"\+[1-9][0-9]{6,14}|[+-]?[0-9]{1,15}(\.[0-9]{1,15})?")


def safe(value: str) -> str:
    """The cell's text, with an apostrophe before it when a spreadsheet would run it. Phone numbers stay as they are."""
    return f"'{value}" if RUNS.match(value) and not FIGURE.fullmatch(value) else value
