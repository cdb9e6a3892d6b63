"""The notifier: it claims what is to be told, sends it to the endpoint, and settles what came of it."""
