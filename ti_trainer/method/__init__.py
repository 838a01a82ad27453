"""The mathematics of Textual Inversion; it knows no model, no file and no settings."""
