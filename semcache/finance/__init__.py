"""The desk's money: savings, reports, return on investment, chargeback; read from the ledger, beside no request."""
