from django.urls import URLPattern, path

from incidents.travel import views

app_name = "embed"

urlpatterns: list[URLPattern] = [path("<str:token>/", views.banner, name="banner")]
