from django.urls import path

from incidents.answer import answer

urlpatterns = [path("<str:token>/", answer, name="answer")]
