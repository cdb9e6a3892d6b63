"""Hours of mishaps in minutes: what the endpoint accepted is compared with what the API server did."""
