"""What is asked for: settings, lists of concepts, and what is bundled."""
