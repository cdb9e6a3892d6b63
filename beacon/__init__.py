"""Beacon: tells an HTTP endpoint every change of annotated Kubernetes resources."""
