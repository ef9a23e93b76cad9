"""What predictions are worth: metrics, intervals, figures."""
