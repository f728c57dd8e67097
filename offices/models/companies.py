"""Companies, their offices, and the text that answers HELP, with all its versions."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now

from offices import e164, help_message


def clean_phone_number(value: str) -> str:
    """E.164 of what was typed; raises ValidationError with a sentence that helps."""
    try:
        return e164.parse(value)
    except e164.NotAPhoneNumber as error:
        raise ValidationError(str(error), code="phone_number") from None


class Company(models.Model):
    class Reading(models.TextChoices):
        EXACT = "exact", "Exact: only the bare word, in any letter case"
        FORGIVING = "forgiving", "Forgiving: spaces, punctuation and emoji around it do not matter"

    company_lookup = "pk"
    office_lookup = None

    name = models.CharField(max_length=120, unique=True, help_text="The registered brand, as recipients know it.")
    trade_names = ArrayField(
        models.CharField(max_length=120),
        default=list,
        blank=True,
        help_text="Other names the business is registered under, separated by commas.",
    )
    reading = models.CharField(
        "how texts are read",
        max_length=10,
        choices=Reading.choices,
        default=Reading.EXACT,
        help_text="What counts as a command. A text that looks like a wish to stop but is no command puts "
        "texting on hold for review, whichever you choose.",
    )
    confirm_stop = models.BooleanField(
        "confirm a STOP",
        default=True,
        help_text="Send one text that confirms the opt-out, within five minutes of the STOP or never.",
    )
    confirmation_text = models.TextField(
        "words of the confirmation",
        blank=True,
        max_length=320,
        help_text="Empty: the portal's own wording with the company's name. No advertising: "
        "the law allows a confirmation and nothing else.",
    )
    toll_free_stop = models.BooleanField(
        "STOP on toll-free numbers counts",
        default=False,
        help_text="On toll-free numbers the network itself answers STOP. Turn this on to let such a STOP also "
        "block every number of the company.",
    )
    extra_stop_words = ArrayField(
        models.CharField(max_length=40),
        default=list,
        blank=True,
        help_text="More words that count as STOP, separated by commas. The words that US rules name always do.",
    )
    extra_start_words = ArrayField(
        models.CharField(max_length=40),
        default=list,
        blank=True,
        help_text="More words that count as UNSTOP.",
    )
    extra_help_words = ArrayField(
        models.CharField(max_length=40), default=list, blank=True, help_text="More words that count as HELP."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "companies"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def names(self) -> list[str]:
        """Every name that recipients may know the business by."""
        return [self.name, *self.trade_names]


class Office(models.Model):
    company_lookup = "company"
    office_lookup = "pk"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="offices")
    name = models.CharField(max_length=120)
    main_line = models.CharField(
        max_length=16,
        help_text="The phone number that people call. The canned HELP message names it.",
    )
    email = models.EmailField(blank=True, help_text="Where recipients can write to.")
    is_active = models.BooleanField(default=True, help_text="Off: the office is closed; its record stays.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["company__name", "name"]
        constraints = [
            models.UniqueConstraint(fields=["company", "name"], name="office_name_once_per_company"),
            models.CheckConstraint(
                condition=models.Q(main_line__regex=r"^\+[1-9]\d{6,14}$"), name="office_main_line_e164"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.main_line:
            try:
                self.main_line = clean_phone_number(self.main_line)
            except ValidationError as error:
                raise ValidationError({"main_line": error.messages}) from None

    @property
    def names(self) -> list[str]:
        """The names that a HELP message of this office may use for the business."""
        return [*self.company.names, self.name]

    def canned_help_text(self) -> str:
        """The text that answers HELP until the office writes its own."""
        return help_message.canned_text(self.company.name, e164.show(self.main_line))

    def live_help_message(self) -> HelpMessage | None:
        """The version in force; None when the canned text stands because nothing was ever saved."""
        return self.help_messages.order_by("-pk").first()

    def help_reply(self) -> tuple[str, HelpMessage | None]:
        """What the next HELP is answered with, and the version that says so."""
        live = self.live_help_message()
        return (live.text if live and not live.is_canned else self.canned_help_text()), live

    def help_text(self) -> str:
        """What the next HELP is answered with."""
        return self.help_reply()[0]


class HelpMessage(models.Model):
    """One version of an office's HELP message. Versions are added, never changed: auditors ask what was live when."""

    company_lookup = "company"
    office_lookup = "office"

    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    office = models.ForeignKey(Office, on_delete=models.PROTECT, related_name="help_messages")
    text = models.TextField(max_length=1600)
    is_canned = models.BooleanField(default=False, help_text="This version went back to the canned text.")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    author_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["office", "-id"], name="help_message_by_office")]

    def __str__(self) -> str:
        return f"HELP message of {self.office}, version {self.pk}"
