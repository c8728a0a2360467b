"""Measurements of a whole stack on one machine; run from a checkout, not part of the package."""
