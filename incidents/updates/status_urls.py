from django.urls import URLPattern, path

from incidents.updates import status

app_name = "status"

urlpatterns: list[URLPattern] = [
    path("", status.internal, name="internal"),
    path("subscriptions/", status.subscriptions, name="subscriptions"),
    path("subscriptions/<int:pk>/stop/", status.stop, name="stop"),
    path("unsubscribe/<str:token>/", status.unsubscribe, name="unsubscribe"),
    path("public/", status.public, name="public"),
    path("components/", status.components, name="components"),
]
