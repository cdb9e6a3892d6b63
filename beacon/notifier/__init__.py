"""The notifier process: claims deliveries from the store, sends them to the endpoint, and reports the results.

May import `bus`, `wire`, `domain`, `configuration`, `runtime`, `boundary`, `codec` and `errors`; never another process.
`delivery` decides what is sent and what an answer means, `transport` sends it. Start reading at
`delivery.dispatch.Dispatcher.run`.
"""
