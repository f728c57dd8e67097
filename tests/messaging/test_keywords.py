"""Reading a received text: every text is a command, a near miss or conversation, and no wish to stop is lost."""

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messaging.keywords import LONGEST_READ, RULES, normalise, parse

# As US rules name them; written out here, so that a word that gets lost in the code is missed.
STOP_WORDS = [
    "stop", "stopall", "stop all", "quit", "end", "revoke", "opt out", "opt-out", "optout", "cancel", "unsubscribe",
]  # fmt: skip
START_WORDS = ["unstop", "start"]
HELP_WORDS = ["help", "info"]
COMMANDS = (
    [(word, "STOP") for word in STOP_WORDS]
    + [(word, "UNSTOP") for word in START_WORDS]
    + [(word, "HELP") for word in HELP_WORDS]
)
words = st.sampled_from(COMMANDS)
# What people and their keyboards put around a word.
decoration = st.text(st.sampled_from(" \t\n\r\u00a0\u200b\ufeff.,!?;:'\"“”‘’()[]*-–—_/🛑👍\u2764\ufe0f"), max_size=6)


@st.composite
def letter_cases(draw: st.DrawFn) -> tuple[str, str]:
    word, command = draw(words)
    upper = draw(st.lists(st.booleans(), min_size=len(word), max_size=len(word)))
    return "".join(c.upper() if up else c for c, up in zip(word, upper, strict=True)), command


@pytest.mark.behaviour("N2")
@pytest.mark.parametrize(("word", "command"), COMMANDS)
def test_each_word_that_us_rules_name_is_its_command(word, command):
    assert parse(word).command == command
    assert parse(word.upper()).command == command
    assert parse(word.title()).command == command


@pytest.mark.behaviour("B04")
@given(letter_cases())
def test_a_command_counts_in_any_letter_case(case):
    text, command = case
    for forgiving in (False, True):
        reading = parse(text, forgiving=forgiving)
        assert (reading.kind, reading.command) == ("command", command)
        assert reading.words == text.lower()
        assert reading.version == RULES.version


@pytest.mark.behaviour("N2")
@pytest.mark.parametrize("text", ["yes", "YES", "Y", "ok", "no", "subscribe", "continue", "resume"])
def test_yes_and_its_like_are_no_command(text):
    for forgiving in (False, True):
        assert parse(text, forgiving=forgiving).kind == "conversation"


@pytest.mark.behaviour("B06")
@pytest.mark.behaviour("N1")
@given(words, decoration, decoration)
@example(("stop", "STOP"), "", " ")
@example(("stop", "STOP"), "", "!!")
@example(("stop", "STOP"), "\ufeff", "\u200b")
def test_exact_reading_takes_no_command_with_anything_around_it(word, before, after):
    text = before + word[0] + after
    reading = parse(text)
    if before or after:
        assert reading.command is None, text
    # ... and whatever stands around a STOP, it is never taken for conversation.
    if word[1] == "STOP":
        assert reading.kind in ("command", "near_miss"), text


@pytest.mark.behaviour("N1")
@given(letter_cases(), decoration, decoration)
def test_forgiving_reading_takes_the_command_through_spaces_punctuation_quotes_and_emoji(case, before, after):
    word, command = case
    reading = parse(before + word + after, forgiving=True)
    assert (reading.kind, reading.command) == ("command", command)


@pytest.mark.behaviour("B06")
@pytest.mark.parametrize("text", ["UNSTOP ", "start!", " HELP", "help?", "“info”"])
def test_a_decorated_unstop_or_help_triggers_nothing_when_read_exactly(text):
    assert parse(text).kind == "conversation"


NEAR_MISSES = [
    "STOP ", " stop", "stop!!", "Stop.", "STOP\n", "stop\u200b", "“STOP”", "'stop'", "(stop)", "🛑 STOP", "stop 🛑",
    "ＳＴＯＰ", "s\u0301top".replace("\u0301", "\u200d"), "stop\x00", "stop all!", "stop  all", "opt  out",
    "Opt_out", "UNSUBSCRIBE!", "end.", "Cancel!", "quit...",
    "please stop texting me", "Please STOP", "pls stop", "stop please", "stop plz", "stop it", "STOP NOW!",
    "Stop texting me",
    "STOP MESSAGES", "stop sending me these", "stop contacting me", "Don't text me", "dont text me anymore",
    "do not message me again", "no more texts", "no more messages please", "opt me out", "I want to opt out",
    "unsubscribe me", "How do I unsubscribe?", "take me off your list", "remove me from this list",
    "leave me alone", "I revoke my consent", "Cancel subscription", "cancel these messages",
    "STOP STOP", "STOP STOP STOP", "stop stop stop!!", "Stop. Stop.", "STOP STOPALL", "Stop!!! I said stop",
    "S T O P", "s.t.o.p", "STOP\n\nSent from my iPhone", "Stop. Wrong number.", "Stop, wrong number",
    "Wrong number. Stop.", "stop im not john", "Stop I'm not interested", "ok stop", "UNSUBSCRIBE\nSent from my phone",
    "STOP thank you",
]  # fmt: skip


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize("text", NEAR_MISSES)
def test_what_reads_like_a_wish_to_stop_is_a_near_miss_and_not_lost(text):
    reading = parse(text)
    assert (reading.kind, reading.command) == ("near_miss", None)
    assert reading.near_miss
    assert reading.words


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize("text", ["STOP" + " " * 5_000, "\n" * 5_000 + "STOP", "STOP" + "!" * 5_000])
def test_a_stop_is_not_lost_among_thousands_of_spaces_or_marks(text):
    assert parse(text).kind == "near_miss"
    assert parse(text, forgiving=True).kind in ("command", "near_miss")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "!!!", "Hello", "the bus stop", "I'll stop by tomorrow", "Stop by at 5?", "can you stop by the office",
        "please stop by tomorrow", "see you at the end of the week", "cancel my appointment", "Cancel my 3pm please",
        "Cancel. I'll come on Monday.", "The end.\nYours, Pat", "What is the next stop? Elm Street", "stop in at noon",
        "I need help with my order", "start at 9", "weekend", "Nonstop flights", "don't stop", "an info sheet",
        "I could not stop laughing", "The backend is down", "remove the old one", "thanks!",
    ],
)  # fmt: skip
def test_ordinary_conversation_is_neither_command_nor_near_miss(text):
    for forgiving in (False, True):
        reading = parse(text, forgiving=forgiving)
        assert (reading.kind, reading.command, reading.words, reading.near_miss) == ("conversation", None, "", "")


@pytest.mark.behaviour("N2")
def test_words_that_a_company_adds_count_in_any_letter_case():
    extra = {"extra_stop": ["Basta"], "extra_start": ["Weiter"], "extra_help": ["Ayuda"]}
    assert parse("BASTA", **extra).command == "STOP"
    assert parse("weiter", **extra).command == "UNSTOP"
    assert parse("ayuda", **extra).command == "HELP"
    assert parse("basta!", **extra).kind == "near_miss"
    assert parse("basta!", forgiving=True, **extra).command == "STOP"
    assert parse("basta").kind == "conversation"


@pytest.mark.behaviour("N2")
@given(words)
def test_no_company_can_turn_a_word_of_the_rules_into_something_else(word):
    text, command = word
    for names in ("extra_stop", "extra_start", "extra_help"):
        assert parse(text, **{names: [text, text.upper()]}).command == command


@pytest.mark.behaviour("N2")
def test_a_word_added_on_both_sides_opts_out():
    assert parse("basta", extra_stop=["basta"], extra_start=["basta"], extra_help=["basta"]).command == "STOP"


@given(st.text(max_size=300))
def test_any_text_at_all_is_exactly_one_of_the_three(text):
    for forgiving in (False, True):
        reading = parse(text, forgiving=forgiving)
        assert (reading.kind == "command") == (reading.command is not None)
        assert (reading.kind == "near_miss") == bool(reading.near_miss)
        assert (reading.kind == "conversation") == (reading.words == "")
        assert reading.version == RULES.version


@given(st.text(max_size=300))
def test_forgiving_reading_never_loses_what_exact_reading_finds(text):
    exact, forgiving = parse(text), parse(text, forgiving=True)
    if exact.kind == "command":
        assert forgiving == exact
    if exact.kind == "near_miss":
        assert forgiving.kind == "near_miss" or forgiving.command == "STOP"
    if exact.kind == "conversation":
        # Only a decorated UNSTOP or HELP is more to it.
        assert forgiving.kind == "conversation" or forgiving.command in ("UNSTOP", "HELP")


@given(st.text(max_size=200))
def test_normalising_twice_is_normalising_once(text):
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip()
    assert not any(unicodedata.category(c) == "Cf" for c in once)


def test_a_megabyte_is_read_as_fast_as_a_page():
    for text in ("stop " * 200_000, "don't " * 200_000, "a" * 1_000_000, "stop\n" * 200_000, "remove " * 150_000):
        started = time.perf_counter()
        parse(text)
        parse(text[:LONGEST_READ])
        assert time.perf_counter() - started < 0.5
