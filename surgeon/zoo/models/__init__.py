"""Small models that are wrong, each beside a right twin."""
