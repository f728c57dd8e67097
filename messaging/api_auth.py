"""Who calls the API: a bearer token of one company, and what its scopes let it do."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from offices.models import tokens
from offices.models.tokens import ApiToken


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`; the token is then `request.auth`."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiToken] | None:
        given = request.headers.get("Authorization", "")
        scheme, _, secret = given.partition(" ")
        if not given:
            return None
        if scheme.lower() != "bearer" or not secret.strip():
            raise exceptions.AuthenticationFailed("Send the token as “Authorization: Bearer <token>”.")
        token = tokens.find(secret.strip())
        if token is None:
            raise exceptions.AuthenticationFailed("The token is unknown, revoked or past its end. Ask for a new one.")
        return AnonymousUser(), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(permissions.BasePermission):
    """The token carries the scope that the view names in `scope`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, ApiToken):
            raise exceptions.NotAuthenticated("Send the token as “Authorization: Bearer <token>”.")
        if view.scope not in request.auth.scopes:
            raise exceptions.PermissionDenied(f"This token lacks the scope “{view.scope}”.")
        return True


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "messaging.api_auth.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from Settings, API tokens in the admin.",
        }
