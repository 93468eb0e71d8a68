"""Rivermill's services: cleaning, scoring, learner, drift and registry, on one runtime and one domain."""
