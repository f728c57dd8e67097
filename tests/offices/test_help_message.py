"""The four parts of a HELP message: what counts as each, what does not, and the canned text."""

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offices import e164, help_message

NAMES = ["Acme Dental", "Downtown"]
WHOLE = "Acme Dental: call +1 202-555-0143. Msg & data rates may apply. Reply STOP to opt out."


def parts_of(text, names=NAMES, **kwargs):
    return {part.key: part for part in help_message.check(text, names, **kwargs)}


def has(key, text, names=NAMES, **kwargs):
    return parts_of(text, names, **kwargs)[key].present


@pytest.mark.behaviour("B19")
def test_a_message_with_all_four_parts_lacks_none():
    assert help_message.missing(help_message.check(WHOLE, NAMES)) == []


@pytest.mark.behaviour("B19")
def test_an_empty_message_lacks_all_four_and_each_says_how_to_mend_it():
    lacking = help_message.missing(help_message.check("", NAMES))

    assert [part.label for part in lacking] == [
        "Business name", "Contact information", "Fees or charges", "How to opt out",
    ]  # fmt: skip
    assert "Acme Dental" in lacking[0].hint
    assert "web address alone is not enough" in lacking[1].hint
    assert "rates may apply" in lacking[2].hint
    assert "Reply STOP" in lacking[3].hint


@pytest.mark.behaviour("B19")
@pytest.mark.parametrize(
    ("part", "without"),
    [
        ("business_name", "Call +1 202-555-0143. Msg & data rates may apply. Reply STOP to opt out."),
        ("contact", "Acme Dental. Msg & data rates may apply. Reply STOP to opt out. See www.acme.com"),
        ("fees", "Acme Dental: call +1 202-555-0143. Reply STOP to opt out."),
        ("opt_out", "Acme Dental: call +1 202-555-0143. Msg & data rates may apply."),
    ],
)
def test_exactly_the_missing_part_is_named(part, without):
    assert [lacking.key for lacking in help_message.missing(help_message.check(without, NAMES))] == [part]


@pytest.mark.parametrize(
    "text",
    [
        "Acme Dental here",
        "ACME DENTAL",
        "acme\ndental",
        "Acme  Dental!",
        "(Acme Dental)",
        "You reached Acme Dental, Inc.",
        "Downtown: hello",
        "Ａcme Dental",  # full-width A
        "Acme\u200b Dental",  # with an invisible character
        "See acme.com, Acme Dental",
    ],
)
def test_the_name_counts_as_whole_words_in_any_letter_case(text):
    assert has("business_name", text)


@pytest.mark.parametrize(
    "text",
    [
        "Acme",
        "Acme Dentals",
        "MyAcme Dental",
        "Acme-Dental",
        "Write to downtown@example.com",
        "See https://example.com/downtown/",
        "See www.downtown.com",
        "See downtown.com/contact",
    ],
)
def test_half_a_name_and_a_name_in_an_address_do_not_count(text):
    assert not has("business_name", text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Acme Dental, Inc.", "Acme Dental: hello"),
        ("Acme Dental LLC", "Acme Dental: hello"),
        ("Inc", "Inc: hello"),
        (", Inc", ", Inc: hello"),
        ("O’Neil & Sons", "O'Neil & Sons here"),
        ("Example.com", "Example.com: hello"),
        ("Acme (West)", "Acme (West): hello"),
        ("Café Noir", "Cafe\u0301 Noir"),
    ],
)
def test_a_name_counts_without_its_legal_form_and_whatever_it_is_made_of(name, text):
    assert has("business_name", text, [name])


def test_a_link_does_not_name_a_business_that_is_called_like_its_address():
    assert not has("business_name", "See www.example.com", ["Example.com"])


@pytest.mark.parametrize(
    "text",
    [
        "call +1 202-555-0143",
        "call (202) 555-0143",
        "call 202.555.0143",
        "call 2025550143",
        "call 1-800-555-0143",
        "call 1-800-FLOWERS",
        "call (888) GO-ACMES1",
        "call +44 20 7946 0018",
        "write to help@acme.com",
        "write to Front.Desk+texts@acme-dental.co.uk",
        "www.acme.com or help@acme.com",
    ],
)
def test_a_phone_number_or_an_e_mail_address_is_enough(text):
    assert has("contact", text)


@pytest.mark.parametrize(
    "text",
    [
        "see www.acme.com",
        "see https://acme.com/2025550143",
        "see acme.com/202-555-0143",
        "see https://acme.com/?mail=help@acme.com",
        "acme@",
        "@acme",
        "order 1234567",
        "call 555-0143",
        "on 2026-11-23",
        "800 ACRES OF LAND",
        "text 12345",
        "call us",
    ],
)
def test_a_web_address_alone_and_other_digits_are_no_contact(text):
    assert not has("contact", text)


@pytest.mark.parametrize(
    "text",
    [
        "Msg & data rates may apply",
        "Msg&data rates may apply",
        "Message and data rates apply.",
        "Std. msg rates apply",
        "Standard text messaging rates",
        "Rates may apply",
        "Carrier charges may apply",
        "There is no charge",
        "No fees",
        "Costs nothing",
        "You will not be charged",
        "Free msg",
        "Our texts are free",
        "Texts are always free for you",
        "Pueden aplicar cargos",
    ],
)
def test_language_about_fees_counts_in_its_usual_forms(text):
    assert has("fees", text)


@pytest.mark.parametrize(
    "text",
    [
        "Feel free to text us",
        "Call our toll-free number or text us",
        "Text our toll free number",
        "Ask for who is in charge",
        "Ask about our mortgage rates",
        "Please rate us",
        "We separate waste",
        "Coffee for all",
    ],
)
def test_words_that_only_look_like_fees_do_not_count(text):
    assert not has("fees", text)


@pytest.mark.parametrize(
    "text",
    [
        "Reply STOP to opt out",
        "reply stop to opt out",
        "Reply STOP.",
        "Reply STOP anytime",
        "Reply with STOP",
        "Reply with the word STOP",
        "Text STOP to 12345",
        "Txt STOP 2 end",
        "Send “STOP”",
        "Send 'quit' to leave",
        "text us: STOP",
        "To opt out, reply QUIT",
        "If you don't want texts, reply STOP",
        "Don't want these? Reply END",
        "STOP to opt out",
        "HELP=help, STOP=stop",
        "Reply UNSUBSCRIBE",
        "Reply opt-out",
        "Reply STOP ALL to leave",
        "Do not reply STOP to this. Reply STOP to our other number.",
        "Responda STOP para cancelar",
    ],
)
def test_an_order_to_send_a_word_that_is_honoured_tells_how_to_opt_out(text):
    assert has("opt_out", text)


@pytest.mark.parametrize(
    "text",
    [
        "Reply HALT to opt out",
        "Reply STOPP to opt out",
        "To opt out, visit www.acme.com",
        "Opt out by calling us",
        "You can opt out",
        "Do not reply STOP",
        "You can't text STOP to opt out",
        "We never stop texting",
        "We send end-of-year cards",
        "Text us to stop by",
        "Please reply; we will stop",
        "nonstop to end",
        "",
    ],
)
def test_what_the_portal_would_not_obey_does_not_tell_how_to_opt_out(text):
    assert not has("opt_out", text)


def test_a_word_that_the_company_added_tells_how_to_opt_out():
    words = (*help_message.HONOURED_WORDS, "halt")

    assert has("opt_out", "Reply HALT to opt out", honoured_words=words)


def test_a_blank_word_that_slipped_in_does_not_make_everything_an_opt_out():
    assert not has("opt_out", "Reply soon", honoured_words=("stop", "", " "))


def test_no_names_at_all_leave_the_name_missing_and_the_hint_readable():
    part = parts_of(WHOLE, [])["business_name"]

    assert not part.present
    assert "registered name" in part.hint


@given(st.text(), st.lists(st.text(max_size=20), max_size=3), st.lists(st.text(max_size=10), max_size=3))
@example("\u0338", ["\u0338"], ["("])
def test_any_text_is_judged_without_a_crash(text, names, words):
    parts = help_message.check(text, names, words)

    assert [part.key for part in parts] == ["business_name", "contact", "fees", "opt_out"]


# What a company can be called: Django strips the ends, and something must be there to be seen.
names = st.text(
    alphabet=st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp", "Cn", "Co")), min_size=1, max_size=120
).map(str.strip).filter(bool)  # fmt: skip
main_lines = st.one_of(
    st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS))
    .map(phonenumbers.example_number)
    .map(lambda number: phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)),  # type: ignore[arg-type]
    st.from_regex(r"\+1[2-9][0-8][0-9]55501[0-9]{2}", fullmatch=True),
    st.from_regex(r"\+1(800|822|833|844|855|866|877|88[0-9])55501[0-9]{2}", fullmatch=True),
)


@pytest.mark.behaviour("B15")
@given(names, main_lines)
@example("Example.com", "+12025550143")
@example("https://example.com", "+12025550143")
@example("Don't", "+12025550143")
@example("never", "+12025550143")
def test_the_canned_text_of_any_business_and_main_line_holds_all_four_parts(name, main_line):
    text = help_message.canned_text(name, e164.show(main_line))

    assert help_message.missing(help_message.check(text, [name])) == []
    assert e164.show(main_line) in text
