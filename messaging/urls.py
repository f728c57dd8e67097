"""The addresses of the middle floor's pages, below the admin's own. Who is not logged in goes to its login."""

from django.contrib import admin
from django.urls import path

from messaging.help_check import help_check
from messaging.views import compose, conversation, simulator

app_name = "messaging"
page = admin.site.admin_view

urlpatterns = [
    path("help-check/", help_check, name="help_check"),
    path("conversations/new/", page(compose.new), name="new_conversation"),
    path("conversations/new/check/", page(compose.check), name="check_recipient"),
    path("conversations/segments/", page(compose.count_segments), name="segments"),
    path("conversations/<int:pk>/", page(conversation.page), name="conversation"),
    path("conversations/<int:pk>/live/", page(conversation.live), name="conversation_live"),
    path("conversations/<int:pk>/older/", page(conversation.older), name="conversation_older"),
    path("conversations/<int:pk>/send/", page(conversation.send), name="conversation_send"),
    path("texts/<int:pk>/", page(conversation.whole_text), name="text"),
    path("simulator/", page(simulator.page), name="simulator"),
    path("simulator/live/", page(simulator.live), name="simulator_live"),
    path("simulator/send/", page(simulator.send), name="simulator_send"),
]
