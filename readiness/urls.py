from django.urls import path

from readiness import views

app_name = "readiness"

urlpatterns = [
    path("", views.tonight, name="tonight"),
    path("look/", views.look_now, name="look"),
    path("waivers/", views.waive, name="waive"),
    path("waivers/<int:waiver_id>/end/", views.end_waiver, name="end_waiver"),
]
