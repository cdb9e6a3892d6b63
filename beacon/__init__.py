"""Beacon: tells an HTTP endpoint every change of annotated Kubernetes resources."""

VERSION = "0.1.0"  # as in pyproject.toml: what pip wrote down of it costs 4 MB a process to read
