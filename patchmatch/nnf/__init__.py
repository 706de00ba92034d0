"""PatchMatch: nearest-neighbour fields and images rebuilt from them."""
