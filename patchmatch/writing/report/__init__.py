"""Single-file HTML reports of a run, readable without a network.

A system has a page of its own, in a folder with ``assets/page.html`` and its scripts; style,
thumbnails, time axis and playback are shared.
"""
