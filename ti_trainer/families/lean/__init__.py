"""A U-Net on CPUs that keeps little for its backward pass."""
