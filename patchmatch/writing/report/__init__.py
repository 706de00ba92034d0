"""Single-file HTML reports of a run, readable without a network.

A system has a folder with its scripts and ``assets/page.html``, which fills the slots of the shared
template; style, thumbnails, time axis and playback are shared.
"""
