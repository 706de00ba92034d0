"""Base of prediction writers: run folder, resume, tables, summary."""
