"""A network that estimates the homography between two images."""
