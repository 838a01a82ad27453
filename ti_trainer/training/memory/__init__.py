"""What memory a step takes, counted before the first one."""
