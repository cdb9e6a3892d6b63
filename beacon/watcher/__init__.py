"""The watcher: one stream per scope from the API server to the store, which is the only one who remembers."""
