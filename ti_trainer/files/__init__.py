"""Text, names and files, of this machine and behind URLs."""
