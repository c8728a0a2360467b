"""Code without a business word: settings, transactions, clock, outbox, servers."""
