"""What lies in runs/NAME, and how it gets to where the output is."""
