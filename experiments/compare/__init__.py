"""Cells on tasks over seeds, in processes of their own, and a report with intervals."""
