from django.urls import path

from oncall import duty_views, views

app_name = "oncall"

urlpatterns = [
    path("", views.schedule_list, name="schedule_list"),
    path("new/", views.schedule_new, name="schedule_new"),
    path("mine/", duty_views.mine, name="mine"),
    path("feeds/", duty_views.feed_make, name="feed_make"),
    path("feeds/<int:pk>/revoke/", duty_views.feed_revoke, name="feed_revoke"),
    path("feeds/<str:secret>.ics", duty_views.feed, name="feed"),
    path("swaps/<int:pk>/<slug:answer>/", duty_views.swap_answer, name="swap_answer"),
    path("<slug:slug>/", views.schedule_detail, name="schedule_detail"),
    path("<slug:slug>/edit/", views.schedule_edit, name="schedule_edit"),
    path("<slug:slug>/quality/", views.schedule_quality, name="schedule_quality"),
    path("<slug:slug>/swap/", duty_views.swap_ask, name="swap_ask"),
    path("<slug:slug>/overrides/", views.override_add, name="override_add"),
    path("<slug:slug>/overrides/<int:pk>/remove/", views.override_remove, name="override_remove"),
    path("<slug:slug>/temporary/", views.temporary_add, name="temporary_add"),
    path("<slug:slug>/temporary/<int:pk>/remove/", views.temporary_remove, name="temporary_remove"),
]
