"""Pure tensor functions that several systems use."""
