"""The watcher: lists and watches the scopes on the API server, and sends observations to the store.

It keeps no state on disk: the store holds every position. May import `bus`, `wire`, `cluster`, `configuration`,
`runtime`, `domain` and `errors`; never another process. Start reading at `watch_loop.WatchLoop.run`.
"""
