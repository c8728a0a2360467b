"""Prefect flows, the flow runner and its deployments."""
