"""The notifier: claims deliveries, sends them to the endpoint, and settles what came of them."""
