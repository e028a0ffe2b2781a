"""Makers of rows for tests, one small file per app. Each fills only what the model requires."""
