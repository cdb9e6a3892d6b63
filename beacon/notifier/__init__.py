"""The notifier process: claims deliveries from the store, sends them to the endpoint, and reports the results.

May import `bus`, `wire`, `domain`, `configuration`, `runtime`, `boundary`, `codec` and `errors`; never another process.
Start reading at `dispatch.Dispatcher.run`.
"""
