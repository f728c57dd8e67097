"""What people write each other in the demo: stories of a few texts, told a little differently each time.

They stand in dental.txt and heating.txt. "weight" is how often a story happens, "risk" how likely each text of ours
is answered by STOP, "on" which desks it comes from. A line is "speaker: words". Speakers: `system` (an integration),
`office` (a person there), `them` (the recipient); with `+photo` behind it the text carries a picture. A `?` before the
colon: the story may end here. [one|other] is a choice, [=one|other] the choice that fits the one before it, {name} a
fact of the story.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Line:
    speaker: str
    words: str
    photo: bool = False
    may_end: bool = False


@dataclass(frozen=True)
class Story:
    """One conversation; its numbers are explained above."""

    weight: float
    risk: float
    desks: tuple[str, ...]
    lines: tuple[Line, ...]


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _stories(name: str) -> tuple[Story, ...]:
    """The stories of a file: a line with weight, risk and desks, then the lines that are said."""
    found = []
    for paragraph in _read(name).split("\n\n"):
        head, *script = paragraph.strip().splitlines()
        if head.startswith("#"):
            continue
        weight, risk, desks = re.fullmatch(r"weight (\S+), risk (\S+), on (.+)", head).groups()  # type: ignore[union-attr]
        found.append(Story(float(weight), float(risk), tuple(desks.split()), tuple(map(_line, script))))
    return tuple(found)


def _line(written: str) -> Line:
    speaker, words = written.split(": ", 1)
    who = speaker.rstrip("?")
    return Line(who.removesuffix("+photo"), words, "+photo" in speaker, speaker.endswith("?"))


class Teller:
    """Says lines, and remembers what was chosen, so that an answer can fit its question."""

    def __init__(self, facts: Mapping[str, str], random: Random) -> None:
        self.facts, self.random = facts, random
        self.chosen = 0

    def say(self, words: str) -> str:
        """One way to say `words`."""
        return re.sub(r"\[(=?)([^\]]*)\]", self._choose, words).format_map(self.facts)

    def _choose(self, found: re.Match[str]) -> str:
        choices = found.group(2).split("|")
        self.chosen = self.chosen % len(choices) if found.group(1) else self.random.randrange(len(choices))
        return choices[self.chosen]


DENTAL, HEATING = _stories("dental.txt"), _stories("heating.txt")
FIRST_NAMES, LAST_NAMES = (names.split() for names in _read("names.txt").split("\n\n"))

# Between two of the portal's own numbers: chat, in which no keyword is read (B01).
CHATTER = (
    ("Can you take {name} on {otherday}? We're full.", "Yes, {othertime} is free. Send the chart over."),
    ("Do you have the {material} samples?", "They're here. I'll bring them {otherday}."),
    ("{who} forgot her keys, are they at yours?", "Yes, at the desk."),
    ("Can you stop by with the spare suction hose?", "Leaving in ten minutes."),
    ("Printer is down again. Print my list for {day}?", "Done, it's in the tray."),
    ("{name} is on her way to you by mistake, please see her", "No problem, we have a gap at {othertime}."),
    ("Is the training at ours or at yours?", "Ours, at noon. Lunch is here."),
    ("stop", "Ha. Wrong chat?"),
    ("Who has the ladder for the sign?", "It's in our hallway."),
    ("How many are coming to the Friday lunch?", "Five of us."),
)

# As they are typed. The portal reads each by its rules; these are not told what they will be taken for.
STOPS = ("STOP", "STOP", "STOP", "STOP", "Stop", "Stop", "stop", "stop", "Unsubscribe", "UNSUBSCRIBE", "Quit", "END",
         "Cancel", "opt out", "STOPALL", "revoke")  # fmt: skip
RETURNS = ("UNSTOP", "UNSTOP", "Unstop", "unstop", "START", "Start")
HELPS = ("HELP", "HELP", "Help", "help", "INFO", "info")
NEAR_MISSES = ("STOP ", "stop!!", "Please stop texting me", "stop please", "Stop.", "“STOP”", "take me off your list",
               "don't text me anymore", "no more texts please", "STOP texting this number", "unsubscribe me",
               "I'd like to opt out of these", "remove my number from your system")  # fmt: skip
APOLOGIES = ("Sorry, I hit stop by mistake", "I'd like to get the reminders again", "Please text me again",
             "my daughter had my phone 🙈", "Turns out I do need the reminders")  # fmt: skip
EXPLAINED = (
    "Called the recipient: meant the appointment, not the texts.",
    "Meant to stop the treatment plan, wants reminders.",
)
MEANT = (
    "Clearly wants no more texts.",
    "Confirmed on the phone: no more texts.",
    "A wish to stop in other words.",
)


FACTS: dict[str, tuple[str, ...]] = {
    "visit": ("cleaning", "check-up", "filling", "crown fitting", "x-ray", "cleaning and check-up", "follow-up"),
    "procedure": ("extraction", "root canal", "filling", "crown", "gum treatment"),
    "material": ("ceramic", "gold", "zirconia"),
    "unit": ("furnace", "boiler", "heat pump", "water heater"),
    "part": ("igniter", "blower motor", "flame sensor", "control board", "circulation pump", "pressure valve"),
    "time": ("8:15 am", "8:30 am", "9 am", "9:40 am", "10:20 am", "11 am", "1:30 pm", "2:15 pm", "3 pm", "4:10 pm"),
    "othertime": ("8 am", "9:20 am", "10 am", "11:30 am", "1 pm", "2:40 pm", "3:30 pm", "4 pm"),
}
