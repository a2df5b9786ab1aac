"""What an attention is meant to be, in float64, and how it goes wrong."""
