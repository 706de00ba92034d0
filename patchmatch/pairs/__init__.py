"""Matching of two images: keypoints, descriptors, homographies, panoramas."""
