"""Block motion of any size between two frames."""
