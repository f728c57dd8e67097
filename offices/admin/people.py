"""People: who has which place in which office, their logins, and what one admin may do about another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RadioFilter
from unfold.decorators import action, display

from offices import access, people
from offices.admin import pages
from offices.filters import ScopedRelatedFilter
from offices.forms import NewPasswordForm, NewPersonForm, PersonForm
from offices.models import Membership, User
from offices.scoped_admin import ScopedAdmin

ROLE_COLOURS = {
    Membership.Role.COMPANY_ADMIN: "primary",
    Membership.Role.OFFICE_ADMIN: "info",
    Membership.Role.AGENT: "",
    Membership.Role.AUDITOR: "warning",
}


class OpenLogin(RadioFilter):
    title = "login"
    parameter_name = "login"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Can sign in"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in ("open", "closed"):
            return queryset.filter(user__is_active=self.value() == "open")
        return queryset


@admin.register(Membership)
class PeopleAdmin(ScopedAdmin):
    form = PersonForm
    list_display = ["person", "email", "role_badge", "office", "can_sign_in", "last_login", "company"]
    list_display_links = ["person"]
    list_select_related = ["user", "office", "company"]
    list_filter = [
        ("company", ScopedRelatedFilter),
        ("office", ScopedRelatedFilter),
        ("role", ChoicesDropdownFilter),
        OpenLogin,
    ]
    search_fields = ["user__first_name", "user__last_name", "user__email"]
    search_help_text = "Name or e-mail address"
    ordering = ["user__last_name", "user__first_name", "pk"]
    actions = None
    actions_detail = ["new_password", "close_login", "reopen_login", "take_away"]
    conditional_fields = {"office": "role == 'office_admin' || role == 'agent'"}
    add_fieldsets = [
        ("The person", {"fields": ["first_name", "last_name", "email", "password"]}),
        ("Their place", {"fields": ["company", "role", "office"]}),
    ]
    fieldsets = [
        ("The person", {"fields": ["first_name", "last_name", "email"]}),
        ("Their place", {"fields": ["company", "role", "office"]}),
    ]
    looking_fieldsets = [(None, {"fields": ["person", "email", "company", "role", "where", "can_sign_in"]})]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            hidden = {"company"} if self.has_one_company(request) else set()
            shown = self.looking_fieldsets[0][1]["fields"]
            return [(None, {"fields": [name for name in shown if name not in hidden]})]
        return super().get_fieldsets(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewPersonForm
        return super().get_form(request, obj, change=change, **kwargs)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        membership = self.get_object(request, object_id)
        if membership is not None:
            list_of_people, place = pages.trail(membership)
            trail = [list_of_people, {**place, "title": str(membership.user)}]
            extra_context = {"trail": trail, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra_context)

    @display(description="name", ordering="user__last_name")
    def person(self, membership: Membership) -> str:
        return str(membership.user)

    @display(description="e-mail address", ordering="user__email")
    def email(self, membership: Membership) -> str:
        return membership.user.email

    @display(description="role", ordering="role", label=ROLE_COLOURS)
    def role_badge(self, membership: Membership) -> tuple[str, str]:
        return membership.role, membership.get_role_display()

    @display(description="office")
    def where(self, membership: Membership) -> str:
        """Only for those who look: the form's own field comes and goes with the role."""
        return str(membership.office or "Every office")

    @display(description="can sign in", boolean=True)
    def can_sign_in(self, membership: Membership) -> bool:
        return membership.user.is_active

    @display(description="last signed in", ordering="user__last_login", empty_value="never")
    def last_login(self, membership: Membership) -> Any:
        return membership.user.last_login

    # Their place

    def has_take_away_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody takes away their own place: the last admin would lock everybody out."""
        membership = obj if isinstance(obj, Membership) else self.get_object(request, str(obj))
        return (
            isinstance(membership, Membership)
            and membership.user_id != request.user.pk
            and self.may(request, "delete", membership)
        )

    @action(description="Take away", permissions=["take_away"], url_path="take-away", icon="person_remove")
    def take_away(self, request: HttpRequest, object_id: str) -> HttpResponse:
        membership = self._membership(request, object_id)
        said = f"{membership.user} is no longer {membership.get_role_display().lower()} of {_where(membership)}."
        if request.method == "POST":
            self.log_deletions(request, Membership.objects.filter(pk=membership.pk))
            membership.delete()
            messages.success(request, said)
            return redirect("admin:offices_membership_changelist")
        return pages.ask_first(
            self,
            request,
            membership,
            title="Take away this place",
            explanation=f"{said} Other places that they have stay as they are, and what they wrote stays on record. "
            "With no place left, their login opens an empty portal.",
            button="Take away the place",
            is_danger=True,
        )

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        assert isinstance(obj, Membership)
        assert isinstance(request.user, User)
        cleaned = form.cleaned_data
        if not change:
            password = cleaned["password"] or people.generate_password()
            obj.user, is_new = people.login_for(
                request.user,
                email=cleaned["email"],
                first_name=cleaned["first_name"],
                last_name=cleaned["last_name"],
                password=password,
                company=obj.company,
            )
            obj.made_up_password = password if is_new and not cleaned["password"] else ""  # type: ignore[attr-defined]
            obj.is_new_login = is_new  # type: ignore[attr-defined]
        elif not form.fields["email"].disabled:
            people.rename(obj.user, **{name: cleaned[name] for name in ("first_name", "last_name", "email")})
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        if not obj.made_up_password:
            if not obj.is_new_login:
                said = f"{obj.user} had a login here already, and signs in as before."
                messages.info(request, said)
            return super().response_add(request, obj, post_url_continue)
        return self._show_password(request, obj, obj.made_up_password, title="The first password")

    # Their login

    def has_manage_login_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        membership = obj if isinstance(obj, Membership) else self.get_object(request, str(obj))
        return (
            isinstance(membership, Membership)
            and self.has_change_permission(request, membership)
            and access.may_manage_login(request.user, membership.user)
        )

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> Sequence[Any]:
        membership = self.get_object(request, str(object_id))
        if membership is None:
            return []
        # Of the two about the login, the one that fits.
        other = "reopen-login" if not membership.user.is_active else "close-login"
        offered = super().get_actions_detail(request, object_id)
        return [act for act in offered if act.path in ("new-password", "take-away", other)]

    @action(description="Set a new password", permissions=["manage_login"], url_path="new-password", icon="lock_reset")
    def new_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        membership = self._membership(request, object_id)
        person = membership.user
        form = NewPasswordForm(person, request.POST or None)
        if request.method == "POST" and form.is_valid():
            password = form.cleaned_data["password"] or people.generate_password()
            person.set_password(password)
            person.save(update_fields=["password"])
            self.log_change(request, membership, "Set a new password.")
            if not form.cleaned_data["password"]:
                return self._show_password(request, membership, password, title="The new password")
            messages.success(request, f"{person} signs in with the new password from now on.")
            return redirect(pages.address_of(membership))
        return pages.ask_first(
            self,
            request,
            membership,
            title="Set a new password",
            explanation=f"The old password of {person} stops working, and whoever is signed in with it is signed out.",
            button="Set the password",
            form=form,
        )

    @action(description="Close login", permissions=["manage_login"], url_path="close-login", icon="person_off")
    def close_login(self, request: HttpRequest, object_id: str) -> HttpResponse:
        membership = self._membership(request, object_id)
        if request.method == "POST":
            return self._settle(request, membership, is_active=False)
        return pages.ask_first(
            self,
            request,
            membership,
            title="Close this login",
            explanation=f"{membership.user} is signed out and cannot sign in any more. What they wrote and decided "
            "stays on record under their name. You can reopen the login later.",
            button="Close the login",
            is_danger=True,
        )

    @action(description="Reopen login", permissions=["manage_login"], url_path="reopen-login", icon="person_check")
    def reopen_login(self, request: HttpRequest, object_id: str) -> HttpResponse:
        membership = self._membership(request, object_id)
        if request.method == "POST":
            return self._settle(request, membership, is_active=True)
        return pages.ask_first(
            self,
            request,
            membership,
            title="Reopen this login",
            explanation=f"{membership.user} can sign in again, with the password from before.",
            button="Reopen the login",
        )

    def _membership(self, request: HttpRequest, object_id: str) -> Membership:
        membership = self.get_object(request, object_id)
        if membership is None:
            raise Http404
        assert isinstance(membership, Membership)
        return membership

    def _settle(self, request: HttpRequest, membership: Membership, *, is_active: bool) -> HttpResponse:
        membership.user.is_active = is_active
        membership.user.save(update_fields=["is_active"])
        said = "Reopened the login" if is_active else "Closed the login"
        self.log_change(request, membership, f"{said}.")
        messages.success(request, f"{said} of {membership.user}.")
        return redirect(pages.address_of(membership))

    def _show_password(
        self, request: HttpRequest, membership: Membership, password: str, *, title: str
    ) -> HttpResponse:
        return pages.show_once(
            self,
            request,
            membership,
            title=title,
            label=f"Password of {membership.user}, who signs in as {membership.user.email}",
            secret=password,
            hint="Hand it over by a safe way, not by e-mail: it is not shown again. They can change it themselves.",
        )


def _where(membership: Membership) -> str:
    return str(membership.office or membership.company)
