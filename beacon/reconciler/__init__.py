"""The reconciler: compares the ledger with the cluster, removes old rows, and monitors the volume; the store decides.

May import `bus`, `wire`, `cluster`, `configuration`, `runtime`, `domain` and `errors`; never another process. Start
reading at `reconcile.Schedule.run`, `clean.Cleaner.run` and `storage.Monitor.run`.
"""
