"""Claims deliveries from the store, decides what each answer means, and settles it with the store.

It opens no connection; `beacon.notifier.transport` sends the requests. Start reading at `dispatch.Dispatcher.run`.
"""
