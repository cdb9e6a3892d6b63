"""The store: sole owner of the ledger. It receives requests over the bus and replies after the commit.

May import `runtime`, `bus`, `wire` and below; no other process. `server` applies requests in transactions, `verbs`
carries them out, `recovery` checks and rescues, `ledger` is the file. Start reading at
`server.service.StoreService.process`.
"""
