"""The run directory: one record, many readers."""
