"""The configuration: YAML and environment to one frozen tree, validated, with all problems reported at once.

`settings` declares the tree and is all that most processes import; `loading` reads it and loads pydantic and YAML.
May import `domain`, `boundary`, `codec` and `errors`. Start reading at `settings.Settings`, then `loading.load`.
"""
