"""Computes reports on money from the ledger: savings, monthly cost, return on investment, chargeback.

No request passes through this room; `costs/` books requests. Everything here is a pure function of ledger hours, ledger
lines and files of the user: it starts no thread and remembers nothing. Money is in integer nanodollars or exact
fractions of dollars, and is rounded once, at the end. The server's savings report and the `semcache cost` commands use
it.
"""
