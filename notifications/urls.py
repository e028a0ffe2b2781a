from django.urls import path

from notifications import views

app_name = "notifications"

urlpatterns = [
    path("methods/", views.methods, name="methods"),
    path("methods/add/", views.add_method, name="method_add"),
    path("methods/<int:pk>/verify/", views.verify_method, name="method_verify"),
    path("methods/<int:pk>/code/", views.send_code, name="method_code"),
    path("methods/<int:pk>/test/", views.send_test, name="method_test"),
    path("methods/<int:pk>/remove/", views.remove_method, name="method_remove"),
    path("rules/add/", views.add_rule, name="rule_add"),
    path("rules/<int:pk>/remove/", views.remove_rule, name="rule_remove"),
    path("ledger/", views.ledger, name="ledger"),
    path("ledger/<int:pk>/", views.delivery, name="delivery"),
    path("ledger/<int:pk>/send-again/", views.send_again, name="send_again"),
]
