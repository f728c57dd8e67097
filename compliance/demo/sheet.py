"""Who can log in to the demo, and with what: var/demo.json for scripts, a table for people."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.urls import reverse

from messaging.models import ConsentEvent, Conversation
from offices import e164
from offices.models import Campaign, CampaignAssignment, CarrierAccount, Company, Number, Office, User, tokens
from offices.models.tokens import ApiToken

from . import companies, scenes, stories

TOKEN_NAME = "Demo scripts"
SPARE = [f"+1{code}555019{digit}" for code in ("401", "508", "617", "774", "781") for digit in range(6, 10)]


def read(path: Path) -> dict[str, Any]:
    """What was written there before; empty when nothing that can be read."""
    try:
        known = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def password_of(known: dict[str, Any]) -> str:
    """The password that was given out before, or a new one: easy to type, and another on every machine."""
    try:
        return str(known["users"]["operator"]["password"])
    except (KeyError, TypeError):
        words = secrets.choice(stories.LAST_NAMES), secrets.choice(stories.LAST_NAMES)
        return f"{'-'.join(words)}-{secrets.randbelow(9000) + 1000}"


def make(known: dict[str, Any], password: str) -> dict[str, Any]:
    """What var/demo.json says. Passwords and tokens that still work are kept, the others are renewed."""
    first, other = (Company.objects.get(name=name) for name in (companies.FIRST, companies.OTHER))
    active = Number.objects.filter(given_up_at__isnull=True).order_by("pk")
    ours = active.filter(company=first)
    assigned = CampaignAssignment.objects.filter(ends_at__isnull=True).values("number")
    uncampaigned = ours.filter(kind=Number.Kind.TEN_DIGIT).exclude(pk__in=assigned)
    now_in = {"assignments__ends_at__isnull": True}
    registered = ours.filter(**now_in, assignments__campaign__status=Campaign.Status.REGISTERED)
    url = settings.PUBLIC_URL
    blocked = Conversation.objects.filter(recipient__e164=scenes.BLOCKED, company=first).order_by("pk").first()
    return {
        "url": url,
        "users": _users(password),
        "api_token": _token(first, known.get("api_token")),
        "other_company_api_token": _token(other, known.get("other_company_api_token")),
        "inbound_url": url + reverse("api:inbound"),
        "check_url": url + reverse("api:check"),
        "messages_url": url + reverse("api:messages"),
        "simulator_url": url + reverse("messaging:simulator"),
        "numbers": {
            "campaign": _numbers(_of_one_campaign(registered)),
            "uncampaigned": _numbers(uncampaigned),
            "toll_free": _numbers(ours.filter(kind=Number.Kind.TOLL_FREE)),
            "pending": _numbers(ours.filter(**now_in, assignments__campaign__status=Campaign.Status.PENDING)),
            "given_up": _numbers(Number.objects.filter(company=first, given_up_at__isnull=False)),
            "other_company": _numbers(active.filter(company=other)),
        },
        "offices": {office.name: office.pk for office in Office.objects.order_by("pk")},
        "recipient": _recipient(first),
        "blocked_recipient": scenes.BLOCKED,
        "blocked_conversation_url": blocked and url + reverse("messaging:conversation", args=[blocked.pk]),
    }


def write(path: Path, sheet: dict[str, Any]) -> None:
    """Readable by nobody else: it holds passwords and tokens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(sheet, indent=2) + "\n")
    fresh.rename(path)


def table(sheet: dict[str, Any], path: Path) -> str:
    """For the terminal."""
    sees = {
        "operator": "the whole installation",
        "company_admin": f"{companies.FIRST}, all offices",
        "office_admin": "its office Riverside",
        "agent": "writes from Riverside's numbers",
        "auditor": "reads all, changes nothing",
        "other_company_admin": companies.OTHER,
    }
    rows = [("Role", "What it is for", "User name", "Password")]
    rows += [(role, sees[role], login["username"], login["password"]) for role, login in sheet["users"].items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "   ".join("-" * width for width in widths))
    shown = path.relative_to(settings.BASE_DIR) if path.is_relative_to(settings.BASE_DIR) else path
    lines += [
        "",
        f"Log in          {sheet['url']}/admin/",
        f"Play a phone    {sheet['simulator_url']}",
        f"The API         {sheet['url']}{reverse('docs')}",
        f"For scripts     {shown} (tokens, numbers, and a recipient to try STOP with)",
    ]
    return "\n".join(lines)


def _users(password: str) -> dict[str, dict[str, str]]:
    logins = {user.username: user for user in User.objects.filter(username__in=companies.LOGINS.values())}
    # They begin with the same hash, and checking one is slow.
    fits: dict[str, bool] = {}
    users = {}
    for role, username in companies.LOGINS.items():
        user = logins.get(username)
        if user is None:
            continue
        if user.password not in fits:
            fits[user.password] = check_password(password, user.password)
        if not fits[user.password] or not user.is_active:
            user.set_password(password)
            user.is_active = True
            user.save(update_fields=["password", "is_active"])
        users[role] = {"username": username, "password": password}
    return users


def _token(company: Company, secret: object) -> str:
    if isinstance(secret, str) and (known := tokens.find(secret)) and known.company_id == company.pk:
        return secret
    account = CarrierAccount.objects.filter(company=company, carrier=CarrierAccount.Carrier.CONSOLE).earliest("pk")
    _, issued = tokens.issue(company, TOKEN_NAME, list(ApiToken.Scope.values), account=account)
    return issued


def _of_one_campaign(numbers: Any) -> list[Number]:
    """Those of the campaign that most of `numbers` are in."""
    by_campaign: dict[int, list[Number]] = {}
    for number in numbers:
        by_campaign.setdefault(number.current_assignment().campaign_id, []).append(number)
    return max(by_campaign.values(), key=len, default=[])


def _numbers(numbers: Iterable[Number]) -> list[dict[str, Any]]:
    return [
        {"e164": number.e164, "id": number.pk, "label": number.label, "shown": e164.show(number.e164)}
        for number in numbers
    ]


def _recipient(company: Company) -> str:
    """A number that has not said anything yet, as long as there are such."""
    known = set(
        ConsentEvent.objects.filter(company=company, recipient_e164__in=SPARE).values_list("recipient_e164", flat=True)
    )
    return next((spare for spare in SPARE if spare not in known), SPARE[0])
