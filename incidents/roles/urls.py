from django.urls import URLPattern, path

from incidents.roles import views

room: list[URLPattern] = [
    path("rotations/", views.rotations, name="rotations"),
    path("rotations/<int:rotation_id>/remove/", views.rotation_remove, name="rotation_remove"),
    path("<ref:incident_id>/role/", views.role, name="role"),
    path("<ref:incident_id>/handoff/", views.handoff, name="handoff"),
    path("<ref:incident_id>/hand-over/", views.hand_over, name="hand_over"),
    path("<ref:incident_id>/expert/", views.call_expert, name="call_expert"),
    path("<ref:incident_id>/offers/<int:offer_id>/accept/", views.offer_accept, name="offer_accept"),
    path("<ref:incident_id>/offers/<int:offer_id>/decline/", views.offer_decline, name="offer_decline"),
    path("<ref:incident_id>/offers/<int:offer_id>/withdraw/", views.offer_withdraw, name="offer_withdraw"),
]
"""Under /incidents/, in the name space `incidents`."""
