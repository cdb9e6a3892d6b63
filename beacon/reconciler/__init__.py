"""The reconciler: compares the ledger with the cluster now and then, and keeps the ledger true."""
