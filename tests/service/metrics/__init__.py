"""What is counted, beyond what an owner's routes can change."""
