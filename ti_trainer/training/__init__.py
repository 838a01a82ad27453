"""How a concept is trained: from settings to published rows."""
