"""Generated training data: digits, dead-leaves images, photographs, photometric changes."""
