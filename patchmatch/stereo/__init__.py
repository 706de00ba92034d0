"""Stereo matching: the disparity of every pixel of a rectified pair."""
