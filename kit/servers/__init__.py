"""Run a real PostgreSQL and Valkey from their wheels, on loopback, without installing them."""
