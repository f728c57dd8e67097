"""The demo's two invented companies: offices, campaigns, numbers, people, HELP messages; no texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError

from offices import e164, help_message, help_versions
from offices.models import (
    Campaign,
    CampaignAssignment,
    CarrierAccount,
    Company,
    HelpMessage,
    Membership,
    Number,
    Office,
    User,
)
from offices.models.tokens import ApiToken, issue

FIRST, OTHER = "Quillfeather Dental", "Emberwick Heating"
Role = Membership.Role

# Role in var/demo.json -> the e-mail address that its person logs in with.
LOGINS = {
    "operator": "operator@portal.example",
    "company_admin": "admin@quillfeather.example",
    "office_admin": "riverside@quillfeather.example",
    "agent": "agent@quillfeather.example",
    "auditor": "auditor@quillfeather.example",
    "other_company_admin": "admin@emberwick.example",
}


@dataclass
class Firm:
    """One company with all that its history needs to know. `desks` says which numbers do which work."""

    company: Company
    account: CarrierAccount
    integration: str
    admin: User
    staff: dict[int, list[User]] = field(default_factory=dict)  # by the office's id
    numbers: dict[str, Number] = field(default_factory=dict)  # by label
    desks: dict[str, list[Number]] = field(default_factory=dict)
    area_codes: tuple[str, ...] = ()


@dataclass
class SetUp:
    firms: list[Firm]
    operator: User
    given_up: Number
    given_up_at: datetime


def set_up(now: datetime, password: str) -> SetUp:
    """Make both companies as they stand at `now`, with changes that came in the course of the year.

    Everybody's password is `password`: hashing is slow, so it is done once.
    """
    people = _People(make_password(password), now - timedelta(days=400))
    operator = people.make(LOGINS["operator"], "Robin", "Ashdown")
    operator.is_superuser = True
    operator.save(update_fields=["is_superuser"])
    dental = _dental(now, people)
    heating = _heating(now, people)
    given_up = dental.numbers["Old front desk"]
    assert given_up.given_up_at is not None
    return SetUp([dental, heating], operator, given_up, given_up.given_up_at)


@dataclass
class _People:
    password_hash: str
    joined: datetime

    def make(self, email: str, first: str, last: str) -> User:
        return User.objects.create(
            username=email,
            email=email,
            first_name=first,
            last_name=last,
            password=self.password_hash,
            is_staff=True,
            date_joined=self.joined,
        )

    def place(
        self, email: str, first: str, last: str, company: Company, role: Role, office: Office | None = None
    ) -> User:
        person = self.make(email, first, last)
        Membership.objects.create(user=person, company=company, role=role, office=office)
        return person


def _dental(now: datetime, people: _People) -> Firm:
    began = now - timedelta(days=400)
    company = Company.objects.create(name=FIRST, trade_names=["Quillfeather Dental Group"], created_at=began)
    riverside = _office(company, "Quillfeather Riverside", "+14015550100", "riverside", began)
    hilltop = _office(company, "Quillfeather Hilltop", "+15085550100", "hilltop", began)
    account = CarrierAccount.objects.create(
        company=company,
        name="Quillfeather console",
        carrier=CarrierAccount.Carrier.CONSOLE,
        created_at=began,
    )
    care = _campaign(
        company,
        "Appointments and care",
        "CQ7F3A1",
        "Customer care",
        "Appointment reminders, changes of appointments, and answers to questions of patients.",
        [
            "Hi Maya, this is Quillfeather Dental. You have a cleaning on Monday at 9 am. Reply C to confirm.",
            "Quillfeather Dental: thank you, you are booked for Tuesday at 10 am. Reply STOP to opt out.",
        ],
        began,
    )
    recalls = _campaign(
        company,
        "Recall reminders",
        "CQ7F3B2",
        "Account notification",
        "Reminders that a regular check is due, sent to patients who asked for them at their last visit.",
        [
            "Maya, it has been six months since your last cleaning at Quillfeather Dental. Reply STOP to opt out.",
            "Quillfeather Dental: your check-up is due. Reply with a day that suits you.",
        ],
        began,
    )
    offers = _campaign(
        company,
        "Family offers",
        "",
        "Marketing",
        "Seasonal offers for families of patients who asked to hear of them on the registration form.",
        [
            "Quillfeather Dental: in May every new patient of your family gets a first check at half the price.",
            "Quillfeather Dental: whitening week starts Monday. Reply YES for times, STOP to opt out.",
        ],
        now - timedelta(days=75),
        status=Campaign.Status.PENDING,
    )
    admin = people.place(LOGINS["company_admin"], "Dana", "Whitlock", company, Role.COMPANY_ADMIN)
    people.place(LOGINS["auditor"], "Ruth", "Calloway", company, Role.AUDITOR)
    noor = people.place(LOGINS["office_admin"], "Noor", "Castellan", company, Role.OFFICE_ADMIN, riverside)
    theo = people.place(LOGINS["agent"], "Theo", "Marchetti", company, Role.AGENT, riverside)
    june = people.place("june@quillfeather.example", "June", "Abernathy", company, Role.AGENT, riverside)
    priya = people.place("hilltop@quillfeather.example", "Priya", "Vandermeer", company, Role.OFFICE_ADMIN, hilltop)
    silas = people.place("silas@quillfeather.example", "Silas", "Okonjo", company, Role.AGENT, hilltop)
    firm = Firm(
        company,
        account,
        "Practice calendar",
        admin,
        {riverside.pk: [theo, theo, june, noor], hilltop.pk: [silas, silas, priya]},
        area_codes=("401", "508", "617", "774", "781", "978", "860"),
    )
    moved_at, given_up_at = now - timedelta(days=148, hours=3), now - timedelta(days=121, hours=5)
    _number(firm, riverside, "+14015550101", "Front desk", "front", began, care)
    _number(firm, riverside, "+14015550102", "Hygiene", "hygiene", began, care)
    _number(firm, riverside, "+14015550103", "Lab and records", "records", began)
    moved = _number(firm, riverside, "+14015550104", "Riverside recalls", "recalls", began)
    _in_campaign(moved, recalls, began, moved_at)
    _in_campaign(moved, care, moved_at)
    old = _number(firm, riverside, "+14015550105", "Old front desk", "front", began)
    _in_campaign(old, care, began, given_up_at)
    old.given_up_at = given_up_at
    old.save(update_fields=["given_up_at"])
    _number(firm, riverside, "+18335550101", "Billing, toll-free", "tollfree", began)
    _number(firm, hilltop, "+15085550101", "Hilltop front desk", "front", began, care)
    _number(firm, hilltop, "+15085550102", "Hilltop recalls", "recalls", began, recalls)
    _number(firm, hilltop, "+15085550103", "After hours", "after", began)
    _number(firm, hilltop, "+15085550104", "Family offers", "offers", now - timedelta(days=75), offers)
    _number(firm, hilltop, "+18445550102", "Hilltop, toll-free", "tollfree", began)
    _tokens(firm, now)
    _help_messages(now, riverside, hilltop, admin, noor, priya)
    return firm


def _heating(now: datetime, people: _People) -> Firm:
    began = now - timedelta(days=395)
    company = Company.objects.create(
        name=OTHER,
        reading=Company.Reading.FORGIVING,
        toll_free_stop=True,
        confirmation_text="Emberwick Heating: done, no more texts from us. Text UNSTOP if you change your mind.",
        extra_stop_words=["no mas"],
        created_at=began,
    )
    office = _office(company, "Emberwick Millbrook", "+16145550100", "service", began, domain="emberwick")
    account = CarrierAccount.objects.create(
        company=company,
        name="Emberwick console",
        carrier=CarrierAccount.Carrier.CONSOLE,
        created_at=began,
    )
    visits = _campaign(
        company,
        "Service visits",
        "CE2K9D4",
        "Customer care",
        "Arrival times of technicians, parts that have come in, and answers to questions of customers.",
        [
            "Emberwick Heating: Al is on the way to you and arrives in about 30 minutes.",
            "Emberwick Heating: the igniter for your furnace has come in. Does Monday work? Reply STOP to opt out.",
        ],
        began,
    )
    admin = people.place(LOGINS["other_company_admin"], "Gus", "Lindqvist", company, Role.COMPANY_ADMIN)
    marisol = people.place("agent@emberwick.example", "Marisol", "Finch", company, Role.AGENT, office)
    firm = Firm(
        company,
        account,
        "Dispatch board",
        admin,
        {office.pk: [marisol, marisol, admin]},
        area_codes=("614", "740", "937", "513"),
    )
    _number(firm, office, "+16145550101", "Dispatch", "dispatch", began, visits)
    _number(firm, office, "+16145550102", "Technicians", "techs", began, visits)
    _number(firm, office, "+16145550103", "Sales", "sales", began)
    _number(firm, office, "+18555550103", "Office, toll-free", "tollfree", began)
    _tokens(firm, now)
    return firm


def _office(
    company: Company, name: str, main_line: str, mailbox: str, at: datetime, domain: str = "quillfeather"
) -> Office:
    return Office.objects.create(
        company=company, name=name, main_line=main_line, email=f"{mailbox}@{domain}.example", created_at=at
    )


def _campaign(
    company: Company,
    name: str,
    registry_id: str,
    use_case: str,
    description: str,
    samples: list[str],
    at: datetime,
    status: Campaign.Status = Campaign.Status.REGISTERED,
) -> Campaign:
    campaign = Campaign(
        company=company,
        name=name,
        status=status,
        registry_id=registry_id,
        use_case=use_case,
        description=description,
        opt_in_message=f"{company.name}: you get our texts now. Msg & data rates may apply. Reply STOP to opt out.",
        opt_out_message=f"{company.name}: You have opted out and will get no more texts from us.",
        help_message=f"{company.name}: call our main line. Msg & data rates may apply. Reply STOP to opt out.",
        sample_messages=samples,
        created_at=at,
    )
    campaign.full_clean()
    campaign.save()
    return campaign


def _number(
    firm: Firm,
    office: Office,
    address: str,
    label: str,
    desk: str,
    at: datetime,
    campaign: Campaign | None = None,
) -> Number:
    number = Number.objects.create(
        company=firm.company, office=office, account=firm.account, e164=address, label=label, created_at=at
    )
    if campaign is not None:
        _in_campaign(number, campaign, at)
    firm.numbers[label] = number
    firm.desks.setdefault(desk, []).append(number)
    return number


def _in_campaign(number: Number, campaign: Campaign, since: datetime, until: datetime | None = None) -> None:
    """A number's time in a campaign, dated back: `campaigns.assign` lets nothing end before now."""
    CampaignAssignment.objects.create(
        company_id=number.company_id, campaign=campaign, number=number, starts_at=since, ends_at=until
    )


def _tokens(firm: Firm, now: datetime) -> None:
    """What integrations use. Their secrets are nowhere: they show how the list looks, and open nothing."""
    Scope = ApiToken.Scope
    used, _ = issue(firm.company, firm.integration, [Scope.CHECK, Scope.SEND])
    gone, _ = issue(firm.company, "Former call list", [Scope.CHECK, Scope.READ])
    ended, _ = issue(firm.company, "Yearly audit", [Scope.READ], expires_at=now - timedelta(days=32))
    rows = ApiToken.objects
    rows.filter(pk=used.pk).update(created_at=now - timedelta(days=380), last_used_at=now - timedelta(minutes=7))
    rows.filter(pk=gone.pk).update(created_at=now - timedelta(days=380), revoked_at=now - timedelta(days=190))
    rows.filter(pk=ended.pk).update(created_at=now - timedelta(days=62))


def _help_messages(now: datetime, riverside: Office, hilltop: Office, admin: User, noor: User, priya: User) -> None:
    """Versions over the year: Riverside words its own, Hilltop has gone back to the canned text."""
    line, other = e164.show(riverside.main_line), e164.show(hilltop.main_line)
    versions: list[tuple[int, Office, User, str]] = [
        (330, riverside, admin,
         f"Quillfeather Dental: call {line} for help. Msg & data rates may apply. Text STOP to opt out."),
        (296, hilltop, priya,
         f"Quillfeather Dental Hilltop here. Questions? Call {other}. Message and data rates may apply. "
         "Reply STOP to opt out."),
        (204, riverside, noor,
         f"Quillfeather Dental Riverside: call us at {line} or write to {riverside.email}. We text about your visits. "
         "Msg & data rates may apply. Reply STOP to opt out."),
        (152, hilltop, priya, ""),
        (58, riverside, noor,
         f"Quillfeather Dental Riverside: our front desk helps you at {line}, weekdays 8 to 6, or {riverside.email}. "
         "We charge nothing for texts; msg & data rates may apply. Reply STOP to opt out."),
    ]  # fmt: skip
    for days, office, author, text in versions:
        if text and (lacks := help_message.missing(help_versions.check(office, text))):
            raise ValidationError(f"A HELP message of the demo lacks {lacks[0].label}.")
        HelpMessage.objects.create(
            company_id=office.company_id,
            office=office,
            text=text or office.canned_help_text(),
            is_canned=not text,
            author=author,
            author_name=str(author),
            created_at=now - timedelta(days=days, hours=2),
        )
