"""The verbs: what the store does in the ledger for a request, each within the transaction of the caller.

Start reading at `streams` and `journal` (observations become events), then `deliveries` (claims, settlements).
"""
