"""A patch descriptor trained on synthetic pairs with the loss of HardNet."""
