"""What happens around training: seeds, speed, figures, explanations."""
