"""What must lie at the root."""

from django.urls import path

from notifications.push import views

urlpatterns = [
    path("sw.js", views.service_worker, name="service_worker"),
    path("offline/", views.offline, name="push_offline"),
]
