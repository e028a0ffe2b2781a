from django.urls import URLPattern, path

from incidents.channel import views

room: list[URLPattern] = [
    path("<ref:incident_id>/note/", views.note, name="note"),
    path("<ref:incident_id>/decide/", views.decide, name="decide"),
    path("<ref:incident_id>/commands/", views.command_list, name="commands"),
    path("<ref:incident_id>/mention/", views.mention, name="mention"),
    path("<ref:incident_id>/entries/<int:seq>/", views.entry, name="entry"),
    path("<ref:incident_id>/entries/<int:seq>/amend/", views.amend, name="amend"),
    path("<ref:incident_id>/entries/<int:seq>/mark/", views.mark, name="mark"),
    path("<ref:incident_id>/files/<int:pk>/<str:name>", views.attachment, name="attachment"),
]
"""Under /incidents/, in the name space `incidents`."""
