"""Agreements with tiers, purchase orders, answers and receipts."""
