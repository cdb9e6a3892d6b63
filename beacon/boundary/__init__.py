"""Input from outside the process, read within limits: files, secrets, proxies, TLS contexts, text for a terminal.

Also `lazy_import`, for what libraries import and Beacon does not use.

May import only `errors`, so that every other package may use it. Start reading at `files.read`.
"""
