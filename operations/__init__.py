"""The acts that cross rooms, one module each."""
