"""The path's money: accounts, purchases, budgets, prices, tariffs, estimated usage.

Owns: the account of each request (`account.py`), the purchase of each upstream call (`purchases.py`), what may be
spent (`budgets.py`) and what it costs (`prices.py`). Amounts are integer nanodollars.
Thread: the event loop alone.
Remembers: prices of 4,096 models and 4,096 charges (`prices.py`), emptied when full; balances of the present periods
(`budgets.py`), derived from the ledger; means of what answers take, for 4,096 aliases (`outlays.py`). Reports for
people are made in finance/, from the ledger.
"""
