"""The web page `ti-trainer ui`; it calls what the commands call."""
