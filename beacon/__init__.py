"""Beacon: delivers every change of annotated Kubernetes resources to an HTTP endpoint."""

VERSION = "0.1.0"  # as in pyproject.toml: what pip wrote down of it costs 4 MB a process to read
