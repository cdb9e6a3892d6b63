"""Soak test: hours of faults in minutes; the accepted events are compared with the changes in the API server."""
