"""Lightning base classes of matchers and data modules, checkpoints, batches and errors."""
