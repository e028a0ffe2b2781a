from django.urls import URLPattern

room: list[URLPattern] = []
"""Under /incidents/, in the name space `incidents`."""
