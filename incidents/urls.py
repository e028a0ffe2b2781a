from django.urls import path

import incidents.refs  # noqa: F401  (registers <ref:…>)
from incidents import views
from incidents.asks import ASKS
from incidents.channel import urls as channel
from incidents.grouping import urls as grouping
from incidents.my_pages import my_pages
from incidents.reading import urls as reading
from incidents.roles import urls as roles
from incidents.snooze import urls as snooze
from incidents.todo import urls as todo
from incidents.travel import urls as travel
from incidents.updates import urls as updates

app_name = "incidents"

urlpatterns = [
    path("", views.incident_list, name="list"),
    path("declare/", views.declare, name="declare"),
    path("jump/", views.jump, name="jump"),
    path("my-pages/", my_pages, name="my_pages"),
    path("<ref:incident_id>/", views.detail, name="detail"),
    path("<ref:incident_id>/acts/", views.acts, name="acts"),
    path("<ref:incident_id>/earlier/", views.earlier, name="earlier"),
    path("<ref:incident_id>/news/", views.news, name="news"),
    *updates.room,
    *roles.room,
    *snooze.room,
    *todo.room,
    *grouping.room,
    *channel.room,
    *reading.room,
    *travel.room,
    *(path(f"<ref:incident_id>/{verb}/", views.act, {"verb": verb}, name=verb) for verb in ASKS),
]
