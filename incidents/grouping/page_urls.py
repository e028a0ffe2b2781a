from django.urls import path

from incidents.grouping import views

app_name = "alerts"

urlpatterns = [
    path("maintenance/", views.maintenance_list, name="maintenance_list"),
    path("maintenance/new/", views.maintenance_new, name="maintenance_new"),
    path("maintenance/<int:pk>/", views.maintenance, name="maintenance"),
    path("maintenance/<int:pk>/edit/", views.maintenance_edit, name="maintenance_edit"),
    path("maintenance/<int:pk>/end/", views.maintenance_end, name="maintenance_end"),
    path("held/", views.held, name="held"),
    path("services/<slug:slug>/", views.settings, name="settings"),
    path("services/<slug:slug>/panel/", views.service_panel, name="service_panel"),
]
