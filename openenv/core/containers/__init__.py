"""Providers, under the path that existing clients import them from."""
