"""What runs again, is read again and is written again, and whether a build may be believed."""
