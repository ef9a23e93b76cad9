"""Published figures of each system beside the results of this project."""
