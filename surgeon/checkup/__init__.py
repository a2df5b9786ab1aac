"""A physical examination for anyone's attention, by behaviour alone."""
