"""Beacon: delivers every change of annotated Kubernetes resources to an HTTP endpoint."""

VERSION = "0.2.0"  # as in pyproject.toml; reading pip's metadata would cost 4 MB per process
