"""Who may see and change what: the one place that decides, for admin, pages and API alike.

Every model names the way to its company (`company_lookup`) and, where a row belongs to one office, to that
office (`office_lookup`). A user sees the rows of the companies and offices of their memberships; what they
may do with them is the table RIGHTS. Superusers are operators: they see all, and the record binds them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.db.models import Model, Q, QuerySet

from offices.models import ApiToken, Company, Membership, Office, User

Action = Literal["view", "add", "change", "delete", "send", "review", "help_message", "opt_out", "export"]
Role = Membership.Role
M = TypeVar("M", bound=Model)

ALL = (Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AGENT, Role.AUDITOR)
ADMINS = (Role.COMPANY_ADMIN, Role.OFFICE_ADMIN)
COMPANY = (Role.COMPANY_ADMIN,)
OVERSEERS = (Role.COMPANY_ADMIN, Role.AUDITOR)
NOT_AGENTS = (Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AUDITOR)

# model (app_label.model) -> action -> roles that may. What is not named here only operators may do.
RIGHTS: dict[str, dict[str, tuple[Role, ...]]] = {
    "offices.company": {"view": OVERSEERS, "change": COMPANY, "opt_out": COMPANY},
    "offices.office": {"view": ALL, "add": COMPANY, "change": ADMINS, "help_message": ADMINS},
    "offices.helpmessage": {"view": ALL},
    "offices.membership": {"view": NOT_AGENTS, "add": ADMINS, "change": ADMINS, "delete": ADMINS},
    "offices.user": {"view": NOT_AGENTS},
    "offices.campaign": {"view": NOT_AGENTS, "add": COMPANY, "change": COMPANY},
    "offices.campaignassignment": {"view": NOT_AGENTS},
    "offices.carrieraccount": {"view": OVERSEERS},
    "offices.number": {"view": ALL, "add": COMPANY, "change": COMPANY, "opt_out": ADMINS},  # record one by hand
    "offices.apitoken": {"view": OVERSEERS, "add": COMPANY, "change": COMPANY},
    "messaging.recipient": {"view": ALL, "change": (Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AGENT)},
    "messaging.conversation": {"view": ALL, "send": (Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AGENT)},
    "messaging.message": {"view": ALL, "change": COMPANY},  # settle what is uncertain; its words stay
    "messaging.optout": {"view": ALL, "export": OVERSEERS},
    "messaging.hold": {"view": ALL, "review": COMPANY},
    "messaging.liftrequest": {"view": OVERSEERS},  # asking and deciding: see is_company_admin
    "messaging.consentevent": {"view": NOT_AGENTS},
}

# Rows of the whole company that office people see as well, since they work with them.
SEEN_BY_OFFICES = {"offices.campaign"}


def memberships(user: User | AnonymousUser) -> list[Membership]:
    """The user's memberships, read once a request; none for strangers and closed logins."""
    if not user.is_authenticated or not user.is_active:
        return []
    kept: list[Membership] | None = user.__dict__.get("_memberships")
    if kept is None:
        kept = list(user.memberships.select_related("company", "office"))
        user.__dict__["_memberships"] = kept
    return kept


def is_operator(user: User | AnonymousUser) -> bool:
    return bool(user.is_active and user.is_superuser)


def roles_for(label: str, action: str) -> tuple[Role, ...]:
    return RIGHTS.get(label, {}).get(action, ())


def visible_to(user: User | AnonymousUser, rows: QuerySet[M] | type[M], action: str = "view") -> QuerySet[M]:
    """The rows that `user` may see, or may do `action` with."""
    queryset: QuerySet[M] = rows if isinstance(rows, QuerySet) else rows._default_manager.all()
    if is_operator(user):
        return queryset
    model: Any = queryset.model
    companies, offices, companies_of_offices = reach(user, model, action)
    allowed = Q(pk__in=[])
    if companies:
        allowed |= Q(**{f"{model.company_lookup}__in": companies})
    if offices:
        allowed |= _rows_of_offices(model, offices, companies_of_offices)
    found = queryset.filter(allowed)
    # A join over memberships may name a row twice.
    return found.distinct() if model is User else found


def reach(user: User | AnonymousUser, model: type[Model], action: str) -> tuple[set[int], set[int], set[int]]:
    """Where `user`, who is no operator, may do `action` with rows of `model`.

    The companies all of whose rows are meant; the single offices; and the companies of those offices.
    """
    roles = roles_for(model._meta.label_lower, action)
    held = [membership for membership in memberships(user) if membership.role in roles]
    companies = {m.company_id for m in held if m.office_id is None}
    offices = {m.office_id for m in held if m.office_id is not None}
    return companies, offices, {m.company_id for m in held if m.office_id is not None}


def _rows_of_offices(model: Any, offices: Iterable[int | None], companies: Iterable[int]) -> Q:
    if model.office_lookup:
        return Q(**{f"{model.office_lookup}__in": offices})
    if model._meta.label_lower in SEEN_BY_OFFICES:
        return Q(**{f"{model.company_lookup}__in": companies})
    own_way = getattr(model, "reach_of_offices", None)
    return own_way(offices) if own_way else Q(pk__in=[])


def may(user: User | AnonymousUser, action: str, row_or_model: Model | type[Model]) -> bool:
    """True when `user` may do `action`: with this row, or (given a model) with any row of it."""
    if is_operator(user):
        return True
    model = row_or_model if isinstance(row_or_model, type) else type(row_or_model)
    roles = roles_for(model._meta.label_lower, action)
    if not any(membership.role in roles for membership in memberships(user)):
        return False
    if isinstance(row_or_model, type):
        return True
    return visible_to(user, model, action).filter(pk=row_or_model.pk).exists()


def companies_of(user: User | AnonymousUser) -> QuerySet[Company]:
    """The companies that `user` belongs to in any role."""
    if is_operator(user):
        return Company.objects.all()
    return Company.objects.filter(pk__in={membership.company_id for membership in memberships(user)})


def offices_of(user: User | AnonymousUser, action: str = "view") -> QuerySet[Office]:
    return visible_to(user, Office, action)


def is_company_admin(user: User | AnonymousUser, company_id: int) -> bool:
    """True for an admin of that company, asked anew; not for operators: some acts answer for a company."""
    return (
        user.is_authenticated
        and user.is_active
        and Membership.objects.filter(user=user, company_id=company_id, role=Role.COMPANY_ADMIN).exists()
    )


def roles_to_grant(user: User | AnonymousUser) -> tuple[Role, ...]:
    """The roles that `user` may give to people: nobody hands out more than they have."""
    held = {membership.role for membership in memberships(user)}
    if is_operator(user) or Role.COMPANY_ADMIN in held:
        return ALL
    return (Role.OFFICE_ADMIN, Role.AGENT) if Role.OFFICE_ADMIN in held else ()


def may_manage_login(user: User | AnonymousUser, person: User) -> bool:
    """True when `user` may set the password of `person`'s login, or close it.

    Only when all that the login opens is the user's to hand out: an office admin who could set the password of
    somebody who is company admin as well would be one from then on. Nobody does it to themselves.
    """
    if person.pk == user.pk:
        return False
    if is_operator(user):
        return True
    if person.is_superuser:
        return False
    theirs = Membership.objects.filter(user=person)
    held = theirs.count()
    return held > 0 and held == visible_to(user, theirs, "change").count()


def of_token(token: ApiToken, rows: QuerySet[M] | type[M]) -> QuerySet[M]:
    """The rows of the company that a token belongs to."""
    queryset: QuerySet[M] = rows if isinstance(rows, QuerySet) else rows._default_manager.all()
    model: Any = queryset.model
    return queryset.filter(**{model.company_lookup: token.company_id})
