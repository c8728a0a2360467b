"""Units and where they are: ledger, levels, seat budgets, feeds."""
