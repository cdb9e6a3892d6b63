"""Input from outside the process, read within limits: files, secrets, proxies, TLS contexts, text for a terminal.

May import only `errors`, so that every other package may use it. Start reading at `files.read`.
"""
