from django.apps import AppConfig


class OnCallConfig(AppConfig):
    name = "oncall"
