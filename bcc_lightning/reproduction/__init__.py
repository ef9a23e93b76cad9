"""What was published about each system, beside what this project measures."""
