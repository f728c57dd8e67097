"""Who texts, from which number, under which campaign: the rows of the ground floor."""

from offices.models.campaigns import Campaign, CampaignAssignment
from offices.models.carrier_accounts import CarrierAccount
from offices.models.companies import Company, HelpMessage, Office
from offices.models.numbers import Number, NumberAbsence
from offices.models.people import Membership, User
from offices.models.tokens import ApiToken

__all__ = [
    "ApiToken",
    "Campaign",
    "CampaignAssignment",
    "CarrierAccount",
    "Company",
    "HelpMessage",
    "Membership",
    "Number",
    "NumberAbsence",
    "Office",
    "User",
]
