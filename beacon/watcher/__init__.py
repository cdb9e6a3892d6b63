"""The watcher: one thread per scope lists and watches the API server and sends observations to the store.

It keeps no state on disk: the store holds every position. May import `bus`, `wire`, `cluster`, `configuration`,
`runtime`, `domain` and `errors`; never another process. Start reading at `scope_watch.ScopeWatch.run`.
"""
