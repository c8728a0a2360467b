"""The HTTP edge: routes, schemas, errors."""
