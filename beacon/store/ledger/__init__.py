"""The ledger: the file, its schema, and what several verbs read and write in it.

It knows no verb and no message of the bus. `database` is the only user of apsw. Start reading
at `database.Database`, then `views`.
"""
