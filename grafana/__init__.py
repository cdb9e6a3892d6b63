"""The Grafana dashboard: its source, its generator and the generated file."""
