"""Single-file HTML report of template matching: scenes with boxes, and a timeline of the scores."""
