"""Every address of the portal, by room."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from compliance import health
from compliance.metrics import metrics
from compliance.suppression_list import download
from messaging import api
from messaging.webhooks import webhook

api_urls = [
    path("inbound/", api.InboundView.as_view(), name="inbound"),
    path("check/", api.CheckView.as_view(), name="check"),
    path("messages/", api.MessagesView.as_view(), name="messages"),
    path("opt-outs/", api.OptOutsView.as_view(), name="opt_outs"),
    path("consent-events/", api.ConsentEventsView.as_view(), name="consent_events"),
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    # Before the admin's own, which answers everything below its address.
    path("admin/", include("messaging.urls")),
    path("admin/suppression-list.csv", admin.site.admin_view(download), name="suppression_list"),
    path("admin/", admin.site.urls),
    path("webhooks/<slug:carrier>/<str:public_id>/", webhook, name="webhook"),
    path("api/v1/", include((api_urls, "api"))),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
