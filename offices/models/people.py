"""The people who log in, and what each may do where."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

from offices.models.companies import Company, Office


class User(AbstractUser):
    """A person who logs in. Rights come from memberships alone; `is_superuser` marks the operator."""

    company_lookup = "memberships__company"
    office_lookup = "memberships__office"

    class Meta:
        verbose_name = "login"
        verbose_name_plural = "logins"

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class Membership(models.Model):
    class Role(models.TextChoices):
        COMPANY_ADMIN = "company_admin", "Company admin"
        OFFICE_ADMIN = "office_admin", "Office admin"
        AGENT = "agent", "Agent"
        AUDITOR = "auditor", "Auditor"

    COMPANY_ROLES = (Role.COMPANY_ADMIN, Role.AUDITOR)
    OFFICE_ROLES = (Role.OFFICE_ADMIN, Role.AGENT)

    company_lookup = "company"
    office_lookup = "office"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices)
    office = models.ForeignKey(
        Office,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="memberships",
        help_text="For office admins and agents. Company admins and auditors see every office.",
    )

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "company", "role", "office"], nulls_distinct=False, name="membership_once"
            ),
            models.CheckConstraint(
                condition=Q(role__in=["company_admin", "auditor"], office__isnull=True)
                | Q(role__in=["office_admin", "agent"], office__isnull=False),
                name="membership_office_fits_role",
                violation_error_message="Office admins and agents belong to one office; "
                "company admins and auditors to the whole company: choose an office or leave it empty.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}, {self.get_role_display()} of {self.office or self.company}"
