"""Warehouses, allocation of groups, waves, parcels and tracking."""
