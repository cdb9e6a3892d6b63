"""The ledger: the file, its schema, and what several verbs read and write in it.

It knows no verb and no message of the bus. Only `database`, `opening`, `migrating` and `copying` use apsw. Start
reading at `database.Database`, then `views`.
"""
