"""A patch descriptor trained with HardNet's loss on synthetic image pairs."""
