"""A procedural world of 64-pixel pictures, and the recipe that trains the bundled models on it."""
