"""A physical examination for anyone's attention: `examine`, by behaviour alone."""
