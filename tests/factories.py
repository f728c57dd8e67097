"""The smallest valid rows; traits name states. Numbers are from the fictional range 555-0100 to 555-0199."""

import itertools

import factory
from django.utils import timezone

from messaging.models import Conversation, Message, Recipient
from offices.models import Campaign, CarrierAccount, Company, HelpMessage, Membership, Number, Office, User
from offices.models.campaigns import assign

PASSWORD = "correct horse battery staple"

# Area codes of the numbering plan, so that every number is one that it assigns.
AREA_CODES = [
    202, 212, 213, 214, 215, 216, 217, 218, 224, 225, 228, 229, 231, 234, 239, 240, 248, 251, 252, 253,
    254, 256, 260, 262, 267, 269, 270, 276, 281, 301, 302, 303, 304, 305, 307, 308, 309, 310, 312, 313,
    314, 315, 316, 317, 318, 319, 320, 321, 323, 325, 330, 334, 336, 337, 339, 347, 351, 352, 360, 361,
    386, 401, 402, 404, 405, 406, 407, 408, 409, 410, 412, 413, 414, 415, 417, 419, 423, 424, 425, 430,
    432, 434, 435, 440, 443, 469, 470, 478, 479, 480, 484, 501, 502, 503, 504, 505, 507, 508, 509, 510,
]  # fmt: skip


def fictional_number(n: int) -> str:
    """The n-th number of the fictional range; distinct for the first 10,000, which is more than a test makes."""
    return f"+1{AREA_CODES[n // 100 % len(AREA_CODES)]}55501{n % 100:02d}"


class CompanyFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Company

    name = factory.Sequence(lambda n: f"Acme Dental {n}")


class OfficeFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Office

    company = factory.SubFactory(CompanyFactory)
    name = factory.Sequence(lambda n: f"Office {n}")
    main_line = "+12025550100"


class CarrierAccountFactory(factory.django.DjangoModelFactory):
    """An account of the console carrier, unless `carrier` names another. `secrets` are those by name, unsealed."""

    class Meta:
        model = CarrierAccount

    class Params:
        twilio = factory.Trait(
            carrier=CarrierAccount.Carrier.TWILIO,
            settings={"account_sid": "AC" + "0" * 32},
            secrets={"auth_token": "twilio-auth-token"},
        )

    company = factory.SubFactory(CompanyFactory)
    name = factory.Sequence(lambda n: f"Account {n}")
    carrier = CarrierAccount.Carrier.CONSOLE

    @classmethod
    def _create(cls, model_class, *args, secrets=(), **kwargs):
        account = super()._create(model_class, *args, **kwargs)
        for name, secret in dict(secrets).items():
            account.add_secret(name, secret)
        return account


class CampaignFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Campaign

    company = factory.SubFactory(CompanyFactory)
    name = factory.Sequence(lambda n: f"Campaign {n}")
    status = Campaign.Status.REGISTERED
    registry_id = factory.Sequence(lambda n: f"C{n:06d}")
    sample_messages = ["Your appointment is tomorrow at 9 am.", "Please call us about your appointment."]


_numbers = itertools.count()


class NumberFactory(factory.django.DjangoModelFactory):
    """A ten-digit number in no campaign. `registered=True` puts it in a registered campaign of its own;
    `campaign=...` in that one; `toll_free=True` makes it toll-free."""

    class Meta:
        model = Number

    class Params:
        toll_free = factory.Trait(
            e164=factory.Sequence(lambda n: f"+1{(800, 833, 844, 855)[n // 100 % 4]}55501{n % 100:02d}")
        )

    company = factory.LazyAttribute(lambda o: o.office.company)
    office = factory.SubFactory(OfficeFactory)
    account = factory.LazyAttribute(
        lambda o: CarrierAccount.objects.filter(company=o.company).first() or CarrierAccountFactory(company=o.company)
    )
    e164 = factory.LazyFunction(lambda: fictional_number(next(_numbers)))

    @classmethod
    def _create(cls, model_class, *args, registered=False, campaign=None, **kwargs):
        number = super()._create(model_class, *args, **kwargs)
        if registered:
            campaign = CampaignFactory(company=number.company)
        if campaign:
            assign(number, campaign)
        return number


class RecipientFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Recipient

    company = factory.SubFactory(CompanyFactory)
    e164 = factory.Sequence(lambda n: fictional_number(9_900 - n % 5_000))


class ConversationFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Conversation

    number = factory.SubFactory(NumberFactory)
    company = factory.LazyAttribute(lambda o: o.number.company)
    recipient = factory.LazyAttribute(lambda o: RecipientFactory(company=o.company))


class MessageFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Message

    conversation = factory.SubFactory(ConversationFactory)
    company = factory.LazyAttribute(lambda o: o.conversation.company)
    recipient = factory.LazyAttribute(lambda o: o.conversation.recipient)
    number = factory.LazyAttribute(lambda o: o.conversation.number)
    account = factory.LazyAttribute(lambda o: o.conversation.number.account)
    direction = Message.Direction.IN
    channel = Message.Channel.SMS
    state = Message.State.RECEIVED
    text = "Hello"
    received_at = factory.LazyFunction(timezone.now)


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")
    first_name = "Pat"
    last_name = factory.Sequence(lambda n: f"Doe {n}")
    email = factory.LazyAttribute(lambda o: f"{o.username}@example.com")
    is_staff = True
    password = factory.django.Password(PASSWORD)


class MembershipFactory(factory.django.DjangoModelFactory):
    """A company admin; `role=` with `office=` for the others."""

    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    company = factory.LazyAttribute(lambda o: o.office.company if o.office else CompanyFactory())
    role = Membership.Role.COMPANY_ADMIN
    office = None


class HelpMessageFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = HelpMessage

    office = factory.SubFactory(OfficeFactory)
    company = factory.LazyAttribute(lambda o: o.office.company)
    text = factory.LazyAttribute(lambda o: o.office.canned_help_text())
    author_name = "Pat Doe"
