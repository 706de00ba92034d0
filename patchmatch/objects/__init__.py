"""Moving objects in videos: a memory of the scene, regions at pixels, tracks, events."""
