"""Single-file HTML report of moving objects: frames with tracks, and a timeline of events."""
