from django.urls import path

from oncall import views

app_name = "oncall"

urlpatterns = [
    path("", views.schedule_list, name="schedule_list"),
    path("new/", views.schedule_new, name="schedule_new"),
    path("<slug:slug>/", views.schedule_detail, name="schedule_detail"),
    path("<slug:slug>/edit/", views.schedule_edit, name="schedule_edit"),
    path("<slug:slug>/overrides/", views.override_add, name="override_add"),
    path("<slug:slug>/overrides/<int:pk>/remove/", views.override_remove, name="override_remove"),
]
