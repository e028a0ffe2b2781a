from django.urls import path

from notifications import callbacks, mail_in, views
from notifications.push import views as push

app_name = "notifications"

urlpatterns = [
    path("methods/", views.methods, name="methods"),
    path("methods/add/", views.add_method, name="method_add"),
    path("methods/<int:pk>/verify/", views.verify_method, name="method_verify"),
    path("methods/<int:pk>/code/", views.send_code, name="method_code"),
    path("methods/<int:pk>/test/", views.send_test, name="method_test"),
    path("methods/<int:pk>/remove/", views.remove_method, name="method_remove"),
    path("methods/<int:pk>/state/", views.method_state, name="method_state"),
    path("methods/<int:pk>/secret/", views.rotate_secret, name="method_secret"),
    path("push/use/", push.use_browser, name="push_use"),
    path("push/renew/", push.renew, name="push_renew"),
    path("push/confirm/", push.confirm, name="push_confirm"),
    path("rules/add/", views.add_rule, name="rule_add"),
    path("rules/<int:pk>/remove/", views.remove_rule, name="rule_remove"),
    path("ledger/", views.ledger, name="ledger"),
    path("ledger/<int:pk>/", views.delivery, name="delivery"),
    path("ledger/<int:pk>/send-again/", views.send_again, name="send_again"),
    path("all/<str:token>/", views.bundle, name="bundle"),
    path("providers/", views.providers, name="providers"),
    path("providers/<str:kind>/<str:name>/close/", views.close_provider, name="provider_close"),
    path("mail/in/", mail_in.mail_in, name="mail_in"),
    path("phone/<str:provider>/sms/", callbacks.sms_in, name="phone_sms_in"),
    path("phone/<str:provider>/sms/status/", callbacks.sms_status),
    path("phone/<str:provider>/sms/status/<uuid:key>/", callbacks.sms_status, name="phone_sms_status"),
    path("phone/<str:provider>/call/<uuid:key>/", callbacks.answered, name="phone_answered"),
    path("phone/<str:provider>/call/<uuid:key>/status/", callbacks.call_status, name="phone_call_status"),
    path("phone/<str:provider>/call/<uuid:key>/keys/<int:turn>/", callbacks.keys, name="phone_keys"),
]
