"""A model of how events reach several endpoints: the ledger's rules, a cluster, a notifier that dies, and receivers.

`rules` names each rule of the protocol, `ledger` applies them, `receivers` checks what each endpoint gets, and `driver`
plays them at random. It shares no code with Beacon: the real store is checked against the same invariants.
"""
