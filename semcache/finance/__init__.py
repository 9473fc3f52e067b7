"""The desk's money: reports, savings, return on investment, chargeback. It reads the ledger and never takes part in a request."""
