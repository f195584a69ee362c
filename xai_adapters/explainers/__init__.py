"""Makers of the registered explainers, one file for each library they come from.

Each function takes a `Subject` and returns an `Explainer`; the registry imports its file when the
explainer is used.
"""
