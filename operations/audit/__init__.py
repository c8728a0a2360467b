"""Every invariant of the domain as a query over the rows, and the report of what breaks them."""

from operations.audit.report import AuditReport, Violation, audit

__all__ = ["AuditReport", "Violation", "audit"]
