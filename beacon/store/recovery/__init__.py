"""Recovery: the check of a ledger at the start, its rescue from damaged pages, and the verification of its invariants.

Start reading at `integrity`.
"""
