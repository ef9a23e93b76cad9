"""The audit of a data set: unreadable files, copies, outliers, suspect labels and shortcuts."""
