"""Models of parking, which share no code with Beacon: `restoring` plays kills and order, `refusing` rates."""
