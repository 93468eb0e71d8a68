"""Manifests for Kubernetes, and what of them follows from a pipeline file."""
