"""Phone numbers: what people and carriers write, what is none, and of which kind one is."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offices import e164


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+12025550143", "+12025550143"),
        ("(202) 555-0143", "+12025550143"),
        ("202.555.0143", "+12025550143"),
        ("1 202 555 0143", "+12025550143"),
        ("  +1 202-555-0143  ", "+12025550143"),
        ("+44 20 7946 0018", "+442079460018"),
        ("tel:+1-202-555-0143", "+12025550143"),
        ("+18225550143", "+18225550143"),
    ],
)
def test_a_number_is_read_however_it_is_written(written, number):
    assert e164.parse(written) == number


@pytest.mark.parametrize("written", ["", "hello", "123", "+", "+1", "555-01", "1" * 40, "+1 202 555 0143 ext. 7", "٣"])
def test_what_is_no_phone_number_is_refused_with_a_sentence(written):
    with pytest.raises(e164.NotAPhoneNumber) as refused:
        e164.parse(written)

    assert str(refused.value).endswith(".")


def test_an_extension_is_named_as_the_trouble():
    with pytest.raises(e164.NotAPhoneNumber, match="extension"):
        e164.parse("+1 202 555 0143 ext. 7")


@pytest.mark.parametrize(("written", "number"), [("24680", "24680"), ("246 80", "24680"), ("246-801", "246801")])
def test_one_of_our_own_numbers_may_be_a_short_code(written, number):
    assert e164.parse_own(written) == number


@pytest.mark.parametrize("written", ["+1 155 555 0143", "+1 999 555 0143", "12345", "1234567"])
def test_a_number_that_the_numbering_plan_does_not_assign_cannot_be_ours(written):
    with pytest.raises(e164.NotAPhoneNumber):
        e164.parse_own(written)


@pytest.mark.parametrize(
    ("raw", "sender"),
    [
        ("+12025550143", "+12025550143"),
        ("12025550143", "+12025550143"),
        ("24680", "24680"),
        ("ACME", "ACME"),
        ("Acme Dental", "Acme Dental"),
    ],
)
def test_a_sender_is_a_number_a_short_code_or_a_name(raw, sender):
    assert e164.parse_sender(raw) == sender


@pytest.mark.parametrize("raw", ["", "   ", "A name that is too long", "ACME<script>"])
def test_what_is_none_of_the_three_is_no_sender(raw):
    with pytest.raises(e164.NotAPhoneNumber):
        e164.parse_sender(raw)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("+12025550143", "ten_digit"),
        *((f"+1{code}5550143", "toll_free") for code in (800, 822, 833, 844, 855, 866, 877, 880, 881, 888, 889)),
        ("+18045550143", "ten_digit"),
        ("+18105550143", "ten_digit"),
        ("+448000113344", "toll_free"),
        ("24680", "short_code"),
        ("246801", "short_code"),
    ],
)
def test_the_kind_comes_from_the_numbering_plan(number, kind):
    assert e164.kind(number) == kind


def test_numbers_are_shown_with_their_groups_and_everything_else_as_it_is():
    assert e164.show("+12025550143") == "+1 202-555-0143"
    assert e164.show("24680") == "24680"
    assert e164.show("ACME") == "ACME"


def test_a_log_gets_the_last_four_digits():
    assert e164.masked("+12025550143") == "…0143"


@given(st.text(max_size=60))
def test_any_text_is_a_number_or_is_refused(written):
    try:
        number = e164.parse(written)
    except e164.NotAPhoneNumber:
        return
    assert e164.is_e164(number)


@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)).map(phonenumbers.example_number))
def test_what_is_shown_is_read_back_as_the_same_number(example):
    number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)

    assert e164.parse(e164.show(number)) == number
