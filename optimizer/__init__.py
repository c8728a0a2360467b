"""Procurement and allocation models, pure functions of plain data."""
