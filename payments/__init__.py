"""Money: intents, captures, refunds and the double-entry ledger."""
