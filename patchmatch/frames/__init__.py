"""Changes between ordered frames: clips, results per block, and the writer."""
