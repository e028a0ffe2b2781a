from django.urls import URLPattern, path

from incidents.todo import views

room: list[URLPattern] = [
    path("<ref:incident_id>/tasks/new/", views.task_new, name="task_new"),
    path("<ref:incident_id>/tasks/<int:number>/", views.task, name="task"),
]
"""Under /incidents/, in the name space `incidents`."""
