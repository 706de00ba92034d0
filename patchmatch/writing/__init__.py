"""The base of every prediction writer: run folder, resume, tables, summary."""
