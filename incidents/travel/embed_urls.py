from django.urls import URLPattern

app_name = "embed"

urlpatterns: list[URLPattern] = []
