"""The configuration: YAML and environment to one frozen tree, checked, with every problem found at once.

`settings` declares the tree and is all that most processes import; `loading` reads it and brings pydantic and YAML.
May import `domain`, `boundary`, `codec` and `errors`. Start reading at `settings.Settings`, then `loading.load`.
"""
