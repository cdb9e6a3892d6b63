"""What comes from outside, bounded where it enters: files, secrets, proxies, TLS contexts, text for a terminal.

Imports `errors` alone, so that every other room may use it. Start reading at `files.read`.
"""
