"""The reconciler: keeps the ledger true and small. It compares, cleans and watches the volume; the store decides."""
