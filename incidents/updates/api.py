from django.urls import URLPattern

endpoints: list[URLPattern] = []
"""Under /api/v1/, before the routers."""
