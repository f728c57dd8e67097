"""No cell of a file runs as a formula, and no phone number is harmed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.cells import safe


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1", "+1+1", "-2+3", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1", "\r=1", "\n=1", "  =1+1", "＝1+1", "＋1+1",
        "－1+1", "＠A1", "+12025550143;=1", "+1 (202) 555-0143", "--1", "=HYPERLINK(\"https://x.example\")", "+", "-",
    ],
)  # fmt: skip
def test_what_a_spreadsheet_would_run_is_made_words(formula):
    assert safe(formula) == f"'{formula}"


@pytest.mark.parametrize(
    "plain",
    ["+12025550143", "+442079460123", "-5", "+3.5", "12", "", "STOP", "stop = please", "a=b", "é", "'=1", "(1)"],
)
def test_phone_numbers_figures_and_words_stay_as_they_are(plain):
    assert safe(plain) == plain


@given(st.text())
def test_a_cell_that_is_left_alone_begins_with_no_sign_that_runs_unless_it_is_a_figure(value):
    kept = safe(value)

    assert kept in (value, f"'{value}")
    if kept == value and value.lstrip()[:1] in ("=", "@", "＝", "＠"):
        pytest.fail(repr(value))
