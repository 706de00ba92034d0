"""Lightning bases of every matcher and data module, checkpoints, batches and errors."""
