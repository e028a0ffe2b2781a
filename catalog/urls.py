from django.urls import path

from catalog import views

app_name = "catalog"

urlpatterns = [
    path("", views.service_list, name="service_list"),
    path("new/", views.service_new, name="service_new"),
    path("<slug:slug>/", views.service_detail, name="service_detail"),
    path("<slug:slug>/edit/", views.service_edit, name="service_edit"),
    path("<slug:slug>/needs/", views.dependency_add, name="dependency_add"),
    path("<slug:slug>/needs/<slug:needs>/remove/", views.dependency_remove, name="dependency_remove"),
]
