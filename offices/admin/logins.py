"""Logins: every account of the installation, for operators only. Companies see people, not logins."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from offices import access
from offices.models import Membership, User
from offices.scoped_admin import ReadOnlyInline, ScopedAdmin

if admin.site.is_registered(Group):
    admin.site.unregister(Group)  # rights come from memberships alone


class Places(ReadOnlyInline):
    model = Membership
    fields = ["company", "role", "office"]
    verbose_name_plural = "places"
    ordering = ["company__name", "pk"]


@admin.register(User)
class LoginAdmin(ScopedAdmin, UserAdmin):  # type: ignore[misc]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "first_name", "last_name", "email", "is_superuser", "is_active", "last_login"]
    list_filter = [("is_superuser", BooleanRadioFilter), ("is_active", BooleanRadioFilter)]
    search_fields = ["username", "first_name", "last_name", "email"]
    ordering = ["username"]
    filter_horizontal = []
    inlines = [Places]
    fieldsets = [
        (None, {"fields": ["username", "password", "first_name", "last_name", "email"]}),
        ("May", {"fields": ["is_active", "is_superuser"], "description": "A superuser is an operator: they see "
                 "every company. All others have the rights of their places, see People."}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]  # fmt: skip
    add_fieldsets = [(None, {"fields": ["username", "email", "is_superuser", "password1", "password2"]})]
    readonly_fields = ["last_login", "date_joined"]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.is_operator(request.user)

    has_change_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest) -> bool:
        return access.is_operator(request.user)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.is_staff = True  # the portal is the admin: without it a login opens nothing
        super().save_model(request, obj, form, change)
